import { mentionsIn, parse, render } from "/web/format.js";
import { equal, test } from "./testing.js";

const inlines = (text) => parse(text).flatMap(({ children }) => children);
const html = (text) => {
  const place = document.createElement("div");
  place.append(render(parse(text), { me: "percy" }));
  return place.innerHTML;
};

test("plain text is one block, line breaks and all", () => {
  equal(parse("one\ntwo"), [{ type: "text", children: ["one\ntwo"] }]);
  equal(parse(""), []);
});

test("bold, italic and code are marked, also within each other", () => {
  equal(html("**b** *i* _i_ `c`"), '<p dir="auto"><strong>b</strong> <em>i</em> <em>i</em> <code>c</code></p>');
  equal(html("**bold with *italic* in it**"), '<p dir="auto"><strong>bold with <em>italic</em> in it</strong></p>');
  equal(html("***both***"), '<p dir="auto"><strong><em>both</em></strong></p>');
});

test("marks that are no marks stay text", () => {
  for (const text of ["2 * 3 * 4", "2*3*4", "snake_case_name", "__init__", "* item", "**", "****", "a ** b", "*open", "``", "`open", "**open *too", "_", "`` ` "]) {
    equal(inlines(text), [text]);
  }
});

test("an unclosed mark is text, and what is within it still counts", () => {
  equal(inlines("**a *b* c"), ["**a ", { type: "italic", children: ["b"] }, " c"]);
});

test("nothing within code is marked", () => {
  equal(inlines("`**a** @bob :tada:`"), [{ type: "code", text: "**a** @bob :tada:" }]);
});

test("three backticks are a block, without the name of a language", () => {
  equal(parse("see:\n```js\nlet a;\n\n  b\n```\nend"), [
    { type: "text", children: ["see:"] },
    { type: "code", text: "let a;\n\n  b" },
    { type: "text", children: ["end"] },
  ]);
  equal(parse("```one line```"), [{ type: "code", text: "one line" }]);
  equal(parse("```open"), [{ type: "text", children: ["```open"] }]);
});

test("lines after > are a quote", () => {
  equal(parse("> a\n> *b*\nc"), [
    { type: "quote", children: ["a\n", { type: "italic", children: ["b"] }] },
    { type: "text", children: ["c"] },
  ]);
  equal(parse(">:("), [{ type: "text", children: [">:("] }]);
});

test("only http and https are links", () => {
  equal(html("https://a.example/b?c=d&e#f"), '<p dir="auto"><a href="https://a.example/b?c=d&amp;e#f" target="_blank" rel="noopener noreferrer">https://a.example/b?c=d&amp;e#f</a></p>');
  for (const text of ["javascript:alert(1)", "data:text/html,x", "ftp://a.example", "//a.example", "http://", "xhttp://a.example", "vbscript:x"]) {
    equal(inlines(text).some((inline) => inline.type === "link"), false);
  }
});

test("a link ends before the punctuation that follows it", () => {
  const texts = { "(https://a.example/b).": "https://a.example/b", "https://a.example/b_(c)": "https://a.example/b_(c)", "**https://a.example**": "https://a.example", "https://a.example/?!": "https://a.example/" };
  for (const [text, link] of Object.entries(texts)) {
    const find = (list) => list.map((inline) => (inline.type === "link" ? inline.text : inline.children ? find(inline.children) : "")).join("");
    equal(find(inlines(text)), link);
  }
});

test("a link shows no characters that turn the direction of text", () => {
  equal(inlines("https://a.example/\u202egpj.exe")[0], { type: "link", href: "https://a.example/", text: "https://a.example/" });
});

test("names after @ and # are marked, addresses of mail are not", () => {
  equal(inlines("@bob, see #garden."), [{ type: "mention", user: "bob", text: "@bob" }, ", see ", { type: "room", room: "garden", text: "#garden" }, "."]);
  equal(inlines("mail bob@example.com, issue #12, a#b"), ["mail bob@example.com, issue #12, a#b"]);
  equal([...mentionsIn(parse("**@Bob** and @percy.\n> @eve"))], ["bob", "percy", "eve"]);
  equal(html("@percy"), '<p dir="auto"><span class="mention is-me">@percy</span></p>');
  equal(html("#garden"), '<p dir="auto"><a class="mention" href="#/room/garden">#garden</a></p>');
});

test("rooms can be those that are known", () => {
  equal(parse("#garden #other", { isRoom: (name) => name === "garden" })[0].children[1], " #other");
});

test("emoji go by their names", () => {
  equal(inlines(":tada: 10:30:20 :nosuch:"), ["🎉 10:30:20 :nosuch:"]);
});

// Each is markup or an address that some page has been tricked with.
const HOSTILE = [
  "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "<a href='javascript:alert(1)'>x</a>",
  "**<b onclick=alert(1)>**", "`<iframe srcdoc=x>`", "```\n</code></pre><script>alert(1)</script>\n```", "> <style>*{display:none}</style>",
  "https://a.example/\"onmouseover=\"alert(1)", "https://a.example/'onmouseover='alert(1)", "http://<script>alert(1)</script>", "JaVaScRiPt://%0aalert(1)",
  "https://a.example/<img src=x onerror=alert(1)>", "@<img src=x>", "#<img src=x>", ":<img src=x>:", "&lt;script&gt;alert(1)&lt;/script&gt;", "\u0000<script>", "[x](javascript:alert(1))",
  "http://javascript:alert(1)", "https:javascript:alert(1)", "https://user:pass@a.example",
];

test("no message makes an element but ours, an attribute but ours, or a link to a script", () => {
  const allowed = { P: ["dir"], BLOCKQUOTE: ["dir"], PRE: ["tabindex"], CODE: [], STRONG: [], EM: [], SPAN: ["class"], A: ["href", "target", "rel", "class"] };
  for (const text of HOSTILE) {
    const place = document.createElement("div");
    place.append(render(parse(text)));
    for (const element of place.querySelectorAll("*")) {
      equal(element.tagName in allowed, true);
      for (const { name } of element.attributes) equal(allowed[element.tagName].includes(name), true);
      if (element.tagName === "A") equal(/^(https?:\/\/|#\/room\/)/.test(element.getAttribute("href")), true);
    }
  }
});

test("the text of a message is all there", () => {
  for (const text of HOSTILE.filter((line) => !/[*`>]|^\[/.test(line))) {
    const place = document.createElement("div");
    place.append(render(parse(text)));
    equal(place.textContent, text);
  }
});

// Counts the characters that searches go through, which is where the time of a parser goes.
function charactersRead(text) {
  const { exec } = RegExp.prototype;
  const { indexOf } = String.prototype;
  let count = 0;
  RegExp.prototype.exec = function counted(subject) {
    const from = this.lastIndex;
    const found = exec.call(this, subject);
    if (found) count += found.index - from + found[0].length;
    else if (!this.sticky) count += subject.length - from;
    count += 1;
    return found;
  };
  String.prototype.indexOf = function counted(sought, from = 0) {
    const found = indexOf.call(this, sought, from);
    count += 1 + (found < 0 ? this.length : found) - from;
    return found;
  };
  try {
    parse(text);
  } finally {
    RegExp.prototype.exec = exec;
    String.prototype.indexOf = indexOf;
  }
  return count;
}

test("hostile text costs by its length and no more", () => {
  const signs = ["*", "_", "[", "`", "**", "***", "*a", "*a ", "_a ", "**a ", "`a", "``a ", "```", "```a", "> ", "@", "@a", "#", "#a", ":", ":a", ":tada", "http://", "https://(", "https://a)", "*_", "*a _b **c ", "\n", "> \n", "*a*", "***a", "a.b-", "@a.-", "("];
  for (const sign of signs) {
    const [small, large] = [4_000, 16_000].map((length) => charactersRead(sign.repeat(length / sign.length)));
    if (large > 4.2 * small + 200 || large > 16_000 * 16) throw new Error(`${JSON.stringify(sign)}: ${small} characters read, then ${large}`);
  }
});

test("marks nest three deep at most", () => {
  const depth = (inline) => 1 + Math.max(0, ...(inline.children ?? []).map(depth));
  for (const sign of ["*", "_", "**", "*_**", "***", "_*"]) {
    const text = Array(1_000).fill(`${sign}a `).join("") + Array(1_000).fill(` a${sign}`).join("");
    if (Math.max(...parse(text).map(depth)) > 5) throw new Error(sign);
  }
});

// The JavaScript client on strings: a command in each line of standard input, answers and events in lines of output.

const [module, url] = process.argv.slice(2);
const { Hubbub } = await import(module);

let chat;
let token = "";
const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function giveToken() {
  write({ event: "token" });
  return token;
}

function open(options) {
  chat = new Hubbub(url, options);
  chat.on("message", ({ room, seq, from, text, type }) => write({ event: "message", room, seq, from, text, type }));
  chat.on("gap", (gap) => write({ event: "gap", ...gap }));
  chat.on("state", ({ state }) => state !== "closed" && write({ event: state }));
  chat.on("removed", ({ room, code }) => write({ event: "removed", room, code }));
  chat.on("rooms", () => write({ event: "rooms", rooms: [...chat.rooms.keys()].sort() }));
  chat.on("read", (read) => write({ event: "read", ...read }));
  chat.on("typing", ({ room }) => write({ event: "typing", room, users: [...chat.rooms.get(room).typing] }));
  chat.on("members", ({ room }) => write({ event: "members", room, users: [...chat.rooms.get(room).members].sort() }));
  chat.on("signal", ({ type, payload }) => write({ event: "signal", type, payload }));
  chat.on("closed", ({ code }) => write({ event: "closed", code }));
  chat.on("changed", ({ room, seq, text, deleted = false, reactions, change }) =>
    write({ event: "changed", room, seq, text, deleted, reactions, emoji: change.emoji }),
  );
}

const shown = ({ messages, ...rest }) => ({ ...rest, texts: messages.map(({ text }) => text) });

const does = {
  sign_in: ({ user, password }) => (open({}), chat.signIn(user, password)),
  sign_in_by_token: ({ token: first, is_lasting }) => {
    token = first;
    open({ token: is_lasting ? first : giveToken });
    return chat.signIn();
  },
  set_token: ({ token: next }) => void (token = next),
  join: async ({ room, history }) => shown(await chat.join(room, { history })),
  leave: ({ room }) => chat.leave(room),
  send: ({ room, text, key }) => chat.send(room, text, key ? { key } : {}).done,
  history: async ({ room, ...where }) => shown(await chat.history(room, where)),
  presence: async ({ room }) => (await chat.request("presence", { room })).members,
  typing: ({ room, on }) => chat.typing(room, on),
  mark_read: ({ room, seq }) => chat.markRead(room, seq),
  edit: ({ room, seq, text }) => chat.edit(room, seq, text),
  delete: ({ room, seq }) => chat.delete(room, seq),
  react: ({ room, seq, emoji, on }) => chat.react(room, seq, emoji, on),
  request: ({ type, payload }) => chat.request(type, payload),
  follow: async ({ room }) => (await chat.follow(room)).room,
  unfollow: ({ room }) => chat.unfollow(room),
  rooms: () => [...chat.rooms.values()].map(({ room, state, unread, mentions, read }) => ({ room, state, unread, mentions, read })),
  close: () => chat.signOut(),
};

async function obey({ id, do: name, ...rest }) {
  try {
    write({ id, result: (await does[name](rest)) ?? null });
  } catch (error) {
    write({ id, error: error.code ?? String(error), message: error.message });
  }
}

let rest = "";
process.stdin.on("data", (data) => {
  const lines = (rest + data).split("\n");
  rest = lines.pop();
  for (const line of lines) obey(JSON.parse(line));
});
process.stdin.on("end", () => process.exit(0));
write({ event: "ready" });

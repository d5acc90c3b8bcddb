// Lesson: a client in JavaScript. It answers every message in `general`, and comes back by itself when the server does.
//
// Start it beside `hubbub serve --demo` with `node bot.mjs` (Node 22, or 20 with --experimental-websocket), or with the
// URL of another server. In a project of your own it is `npm install hubbub-chat`, and `from "hubbub-chat"`. The
// authority that signed a server's own certificate is named by NODE_EXTRA_CA_CERTS.

import { Hubbub } from "../clients/js/src/hubbub.js";

const chat = new Hubbub(process.argv[2] ?? "https://localhost:8080");

chat.on("message", ({ room, from, text, isOwn }) => {
  if (!isOwn) chat.send(room, `${from} said: ${text}`); // it hears its own messages too
});
chat.on("closed", ({ reason }) => console.error(reason));

await chat.signIn("bob", "123");
await chat.join("general");

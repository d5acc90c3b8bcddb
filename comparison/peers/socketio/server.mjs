// Rooms on socket.io: "join" and "say", both acknowledged, and "said" to all in the room.
import { createServer } from "node:http";
import { parseArgs } from "node:util";

import jwt from "jsonwebtoken";
import { Server } from "socket.io";

const { values } = parseArgs({ options: { port: { type: "string" }, secret: { type: "string" } } });

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });

io.use((socket, next) => {
  try {
    socket.data.user = jwt.verify(socket.handshake.auth.token, values.secret, { algorithms: ["HS256"] }).sub;
    next();
  } catch (error) {
    next(error);
  }
});

io.on("connection", (socket) => {
  socket.on("join", (room, done) => {
    socket.join(room);
    done();
  });
  socket.on("say", (room, data, done) => {
    if (socket.rooms.has(room)) io.to(room).emit("said", data, socket.data.user);
    done();
  });
});

http.listen(Number(values.port), "127.0.0.1", 4096);

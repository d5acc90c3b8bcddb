// A chat server with express and ws: one process, one loop.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { parseArgs } from 'node:util';

import express from 'express';
import { WebSocket, WebSocketServer } from 'ws';

const FIRST_ROOM = 'general';
const MAX_MESSAGE = 16 * 1024;
const PING_INTERVAL_MS = 9_000;
const PONG_WAIT_MS = 10_000;
const OTP_LIFE_MS = 5_000;
const SWEEP_INTERVAL_MS = 400;

const PASSWORDS = new Map([['percy', '123'], ['alice', '123'], ['bob', '123']]);

// Command line

const { values: options, positionals: files } = parseArgs({
  allowPositionals: true,
  options: { port: { type: 'string', default: '8080' }, tls: { type: 'boolean', default: false } },
});
if (options.tls && files.length !== 2) {
  console.error('--tls takes two files, a certificate and its key');
  process.exit(2);
}

// One-time passwords

const tickets = new Map(); // in the order issued, so the oldest come first

function issue(user) {
  const otp = randomBytes(16).toString('base64url');
  tickets.set(otp, { user, issued: Date.now() });
  return otp;
}

function redeem(otp) {
  const ticket = tickets.get(otp);
  tickets.delete(otp);
  return ticket !== undefined && Date.now() - ticket.issued < OTP_LIFE_MS ? ticket.user : undefined;
}

function sweep() {
  for (const [otp, { issued }] of tickets) {
    if (Date.now() - issued < OTP_LIFE_MS) {
      break;
    }
    tickets.delete(otp);
  }
}

// HTTP

const app = express();
app.disable('x-powered-by');
app.use(express.json({ type: () => true }));

app.post('/login', (request, response) => {
  const { username, password } = request.body ?? {};
  if (!PASSWORDS.has(username) || PASSWORDS.get(username) !== password) {
    response.status(401).json({ error: 'wrong name or password' });
    return;
  }
  response.json({ otp: issue(username) });
});

// A body that is no JSON, or too long. Express wants all four parameters.
app.use((error, request, response, next) => {
  response.status(error.status ?? 500).json({ error: error.message });
});

const server = options.tls
  ? https.createServer({ cert: readFileSync(files[0]), key: readFileSync(files[1]) }, app)
  : http.createServer(app);

// Getting in

const origins = new Set(
  ['http', 'https'].flatMap((scheme) => ['localhost', '127.0.0.1'].map((host) => `${scheme}://${host}:${options.port}`)),
);
const wss = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE });

server.on('upgrade', (request, socket, head) => {
  const { origin } = request.headers;
  if (origin !== undefined && !origins.has(origin)) {
    refuse(socket, '403 Forbidden');
    return;
  }
  const query = new URLSearchParams(request.url.split('?')[1]);
  const user = redeem(query.get('otp'));
  if (user === undefined) {
    refuse(socket, '401 Unauthorized');
    return;
  }
  wss.handleUpgrade(request, socket, head, (client) => welcome(client, user, query.get('name')));
});

function refuse(socket, status) {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

function welcome(client, user, name) {
  client.user = user;
  client.name = name; // null: it gets its own messages
  client.room = FIRST_ROOM;
  const expiry = setTimeout(() => client.terminate(), PONG_WAIT_MS);
  client.on('pong', () => expiry.refresh());
  client.on('close', () => clearTimeout(expiry));
  client.on('error', () => {}); // 'close' follows
  client.on('message', (data) => receive(client, data));
}

// Events

const handlers = { send_message: sendMessage, change_room: changeRoom };

function receive(client, data) {
  let event;
  try {
    event = JSON.parse(data);
  } catch {
    return;
  }
  if (event !== null && Object.hasOwn(handlers, event.type)) {
    handlers[event.type](client, event.payload);
  }
}

function sendMessage(sender, payload) {
  if (typeof payload?.message !== 'string') {
    return;
  }
  const event = {
    type: 'new_message',
    payload: { message: payload.message, from: sender.user, sent: new Date().toISOString() },
  };
  for (const client of wss.clients) {
    if (client.room === sender.room && client.readyState === WebSocket.OPEN && !isSame(client, sender)) {
      client.send(JSON.stringify(event));
    }
  }
}

// Connections of one name belong to one page, which shows what it has said by itself.
function isSame(client, sender) {
  return sender.name !== null && client.name === sender.name;
}

function changeRoom(client, payload) {
  if (typeof payload?.name === 'string' && payload.name !== '') {
    client.room = payload.name;
  }
}

// Start

setInterval(sweep, SWEEP_INTERVAL_MS);
setInterval(() => wss.clients.forEach((client) => client.ping()), PING_INTERVAL_MS);
server.listen(Number(options.port), '127.0.0.1');

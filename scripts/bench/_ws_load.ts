// Load for a WebSocket echo server: sockets that keep `depth` messages under
// way each, written as bytes so that this side costs as little as may be.
//   _ws_load.ts PORT CONNECTIONS DEPTH SIZE SECONDS [text|binary]
import { connect } from "node:net";
import process from "node:process";

const [port, connections, depth, size, seconds] = process.argv.slice(2, 7)
  .map(Number);
const text = process.argv[7] !== "binary";

function frame(count: number): Uint8Array {
  const payload = new Uint8Array(size).fill(0x61);
  const head = size < 126
    ? [size | 0x80]
    : size < 65536
    ? [0xfe, size >> 8, size & 255]
    : [0xff, 0, 0, 0, 0, size >>> 24, size >> 16 & 255, size >> 8 & 255, size];
  const key = [0x37, 0xfa, 0x21, 0x3d];
  const one = [
    text ? 0x81 : 0x82,
    ...head,
    ...key,
    ...payload.map((byte, i) => byte ^ key[i & 3]),
  ];
  const bytes = new Uint8Array(one.length * count);
  for (let i = 0; i < count; i++) bytes.set(one, i * one.length);
  return bytes;
}

const reply = size + (size < 126 ? 2 : size < 65536 ? 4 : 10);
const frames = Array.from({ length: depth + 1 }, (_, n) => frame(n));
let received = 0;
let ready = 0;

const sockets = Array.from({ length: connections }, () => {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  let head = "";
  let got = 0;
  socket.on("data", (chunk: Uint8Array) => {
    let length = chunk.length;
    if (!head.endsWith("\r\n\r\n")) {
      head += String.fromCharCode(...chunk);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      length = head.length - end - 4;
      head = "\r\n\r\n";
      ready++;
      socket.write(frames[depth]);
    }
    got += length;
    const whole = Math.floor(got / reply);
    got -= whole * reply;
    received += whole;
    if (whole > 0) socket.write(frames[Math.min(whole, depth)]);
  });
  socket.on("error", (error) => {
    console.error(String(error));
    process.exit(1);
  });
  socket.write(
    `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\n` +
      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  return socket;
});

// The first half second warms the server up.
const warm = 500;
setTimeout(() => {
  console.log(`start ${ready} ${received}`);
  const from = performance.now();
  const before = received;
  setTimeout(() => {
    const took = (performance.now() - from) / 1000;
    console.log(`stop ${received - before} ${took}`);
    for (const socket of sockets) socket.destroy();
  }, seconds * 1000);
}, warm);

// Many WebSocket clients that only count what they are sent; prints
// `ready` once all are connected, and `got N` once each has had N bytes.
//   _ws_fleet.ts PORT CONNECTIONS BYTES
import { connect } from "node:net";
import process from "node:process";

const [port, connections, bytes] = process.argv.slice(2, 5).map(Number);
let ready = 0;
let got = 0;
const total = bytes * connections;

function open(): void {
  const socket = connect(port, "127.0.0.1");
  let head = "";
  let shaken = false;
  socket.on("data", (chunk: Uint8Array) => {
    let { length } = chunk;
    if (!shaken) {
      head += String.fromCharCode(...chunk);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      shaken = true;
      length = head.length - end - 4;
      head = "";
      if (++ready === connections) console.log("ready");
      else if (ready + 64 <= connections) open();
    }
    got += length;
    if (got >= total) {
      got -= total;
      console.log(`got ${bytes}`);
    }
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
}

// 64 at a time, lest the backlog overflows.
for (let i = 0; i < Math.min(64, connections); i++) open();

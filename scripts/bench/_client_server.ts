/**
 * What `client.ts` asks: node:net in a process of its own, with as little of
 * HTTP as will do. `GET /` is a small answer, `GET /N` one of N bytes, a POST
 * is read and answered. Prints its port.
 */
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

const BLOCK = new Uint8Array(256 * 1024);
const SMALL = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n" +
  "content-length: 13\r\n\r\nHello, World!";

function download(socket: Socket, size: number): void {
  socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`);
  let left = size;
  const write = () => {
    while (left > 0) {
      const block = left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK;
      left -= block.length;
      if (!socket.write(block)) {
        socket.once("drain", write);
        return;
      }
    }
  };
  write();
}

const server = createServer((socket) => {
  let body = 0;
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.on("data", (chunk: Uint8Array) => {
    let size = chunk.length;
    if (body === 0) {
      const text = new TextDecoder("latin1").decode(chunk.subarray(0, 4096));
      if (text.startsWith("POST")) {
        body = Number(/content-length: (\d+)/i.exec(text)![1]);
        size -= text.indexOf("\r\n\r\n") + 4;
      } else {
        const wanted = Number(/^GET \/(\d*)/.exec(text)![1]);
        if (wanted > 0) download(socket, wanted);
        else socket.write(SMALL);
        return;
      }
    }
    body -= size;
    if (body === 0) socket.write(SMALL);
  });
});
server.listen(0, "127.0.0.1", () => {
  console.log((server.address() as AddressInfo).port);
});

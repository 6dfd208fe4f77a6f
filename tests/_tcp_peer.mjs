// A raw peer in a process of its own, always Node: node:net on Deno fails
// writes that block once the other side has said FIN.
//
//   node _tcp_peer.mjs PORT connect|listen BYTES [fin|rst|hold] [read|deaf]
//
// Writes BYTES bytes as fast as it may, then ends as told; prints the port it
// listens on, and at its end what it has seen as a line of JSON. With "rst" it
// waits for a byte first: a connection that is reset before it is accepted may
// never come in.
import net from "node:net";
import process from "node:process";

const [, , port, side, bytes, ending = "fin", reading = "read"] = process.argv;
const seen = { read: 0, written: 0, ended: false, error: undefined };

function talk(socket) {
  const block = Buffer.alloc(65_536, "x");
  let left = Number(bytes);
  let finished = false;
  const finish = () => {
    finished = true;
    if (ending === "fin") socket.end();
    else if (ending === "rst" && seen.read > 0) socket.resetAndDestroy();
  };
  const write = () => {
    while (left > 0) {
      const size = Math.min(left, block.length);
      left -= size;
      if (
        !socket.write(size < block.length ? block.subarray(0, size) : block)
      ) {
        socket.once("drain", write);
        return;
      }
    }
    finish();
  };
  socket.on("error", (error) => seen.error = error.code);
  socket.on("end", () => seen.ended = true);
  socket.on("close", () => {
    seen.written = socket.bytesWritten;
    console.log(JSON.stringify(seen));
    process.exit();
  });
  if (reading === "read") {
    socket.on("data", (data) => {
      seen.read += data.length;
      if (finished && ending === "rst") finish();
    });
  } else socket.pause();
  write();
}

const options = { allowHalfOpen: true, noDelay: true };
if (side === "connect") {
  const socket = net.connect({ ...options, host: "127.0.0.1", port }, () => {
    console.log("connected");
    talk(socket);
  });
} else {
  const server = net.createServer(options, (socket) => {
    server.close();
    talk(socket);
  }).listen(0, "127.0.0.1", () => console.log(server.address().port));
}

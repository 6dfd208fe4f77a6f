import { http, ws } from "../mod.ts";

const server = await http.serve(
  (request) =>
    ws.upgrade(request, async (socket) => {
      for await (const message of socket) await socket.send(message);
    }),
  { port: 8000 },
);
console.log(server.url.replace("http", "ws"));

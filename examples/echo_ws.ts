import { http, ws } from "../mod.ts";

await http.serve((request) =>
  ws.upgrade(request, async (socket) => {
    for await (const message of socket) await socket.send(message);
  })
);

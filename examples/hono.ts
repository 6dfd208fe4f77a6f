/** A Hono app, served as it is, with a WebSocket beside its routes. */
import { Hono } from "hono";
import { http } from "../mod.ts";
import { getConnInfo, upgradeWebSocket } from "../http/hono.ts";

const app = new Hono();
app.get("/", (c) => c.text(`Hello, ${getConnInfo(c).remote.address}\n`));
app.get(
  "/echo",
  upgradeWebSocket(() => ({
    onMessage: (event, socket) => socket.send(event.data as string),
  })),
);

const server = await http.serve(app, { hostname: "127.0.0.1", port: 8000 });
console.log(`curl ${server.url}`);

// Type-checked with Hono installed beside the package, as its users have it.
import { getConnInfo, upgradeWebSocket } from "@sluice/net/hono";
import { serve } from "@sluice/net/http";
import { Hono } from "hono";

const app = new Hono()
  .get("/", (c) => c.text(String(getConnInfo(c).remote.address)))
  .get(
    "/socket",
    upgradeWebSocket(() => ({
      onMessage: (event, socket) => socket.send(String(event.data)),
      onOpen: async (_event, socket) => {
        const accepted: boolean | undefined = await socket.raw?.send("hello");
        console.log(accepted);
      },
    })),
  );

export const server = serve(app, { port: 0 });

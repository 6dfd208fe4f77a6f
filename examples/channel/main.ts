/**
 * A chat whose clients come as they can: by WebSocket, server-sent events or
 * long polling. The callbacks know of no difference.
 */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { http, ws } from "../../mod.ts";

const here = new Set<http.ChannelSession>();

function tell(text: string): void {
  // One that is behind misses a line; nobody waits for it.
  for (const session of here) if (session.buffered < 65_536) session.send(text);
}

const handlers: http.ChannelHandlers = {
  open(session) {
    here.add(session);
    tell(`One came by ${session.kind}: ${here.size} are here`);
  },
  message: (_session, text) => tell(String(text).slice(0, 1000)),
  close(session) {
    here.delete(session);
    tell(`One left: ${here.size} are here`);
  },
};

const files: Record<string, [name: string, type: string]> = {
  "/": ["page.html", "text/html; charset=utf-8"],
  "/client.js": ["client.js", "text/javascript; charset=utf-8"],
};

const server = await http.serve(async (request) => {
  const { pathname } = new URL(request.url);
  if (pathname === "/chat") {
    return http.channel(request, handlers, { upgrade: ws.upgrade });
  }
  const [name, type] = files[pathname] ?? [];
  if (name === undefined) return new Response(null, { status: 404 });
  const text = await readFile(new URL(name, import.meta.url), "utf8");
  return new Response(text, { headers: { "content-type": type! } });
}, { hostname: "127.0.0.1", port: Number(process.argv[2] ?? 8000) });
console.log(`Open ${server.url} in a browser, or several`);

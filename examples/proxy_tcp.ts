/**
 * Forwards a TCP port, both ways, at the pace of the slower side.
 *
 * ```sh
 * deno run -A examples/proxy_tcp.ts 9000 127.0.0.1 8001
 * ```
 */
import process from "node:process";
import { streams, tcp } from "../mod.ts";

const [port = "9000", hostname = "127.0.0.1", target = "8001"] = process.argv
  .slice(2);

const server = await tcp.serve(async (client) => {
  const upstream = await tcp.connect({ hostname, port: Number(target) });
  await Promise.all([
    streams.connect(client, upstream),
    streams.connect(upstream, client),
  ]);
}, { hostname: "127.0.0.1", port: Number(port), onError: console.error });
console.log(server.address);

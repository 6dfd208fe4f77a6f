// Imports nothing but the library: what else a program loads must not matter.
import { bind } from "../udp/mod.ts";
import type { NetError } from "../udp/mod.ts";

const server = await bind({ hostname: "127.0.0.1" });
const { port } = server.address as { port: number };
const client = await bind({ remote: server.address });
const lines: string[] = [];
for (const hostname of [undefined, "127.0.0.1"]) {
  await client.send({ data: `to ${hostname}`, hostname, port });
  const datagram = await server.receive({ timeout: 5000 });
  lines.push(new TextDecoder().decode(datagram?.data));
  if (datagram !== undefined) await server.send(datagram);
  await client.receive({ timeout: 5000 });
}
await server.send({ data: "by name", hostname: "localhost", port });
lines.push(new TextDecoder().decode((await server.receive())?.data));
for (const hostname of ["255.255.255.255", "no-such-host.invalid"]) {
  try {
    await server.send({ data: "x", hostname, port });
  } catch (error) {
    lines.push((error as NetError).code);
  }
}
try {
  await bind({ hostname: "127.0.0.1", port });
} catch (error) {
  lines.push((error as NetError).code);
}
await client.close();
server.destroy();
await server.closed;
console.log(lines.join("|"));

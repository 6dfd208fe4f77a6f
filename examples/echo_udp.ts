import { udp } from "../mod.ts";

const socket = await udp.bind({ port: 8002 });
for await (const datagram of socket) await socket.send(datagram);

// Type-checked against the installed package, without types of any runtime.
import { http, streams, tcp, udp, ws } from "@sluice/net";
import type { Connection } from "@sluice/net/tcp";
import { NetError } from "@sluice/net/streams";

export async function program(): Promise<void> {
  const server = await http.serve((request, context) => {
    if (ws.isUpgrade(request)) {
      return ws.upgrade(request, async (socket) => {
        for await (const message of socket) await socket.send(message);
      });
    }
    return new Response(context.clientAddress);
  }, { port: 0 });
  const echo: (connection: Connection) => Promise<void> = (connection) =>
    streams.connect(connection, connection);
  const tcpServer = await tcp.serve(echo, { port: 0 });
  const socket = await udp.bind();
  const channel = new streams.Channel<number>({ capacity: 1 });
  const message: number | undefined = await channel.receive({ timeout: 1 });
  const { error } = await (await ws.connect(server.url)).closed;
  if (error instanceof NetError) console.log(error.code, message);
  const text: string = await http.get(server.url).text();
  console.log(text, await socket.receive());
  await Promise.all([tcpServer.close(), server.close(), socket.close()]);
}

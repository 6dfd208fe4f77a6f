import { tcp } from "../mod.ts";

await tcp.serve(async (connection) => {
  for await (const chunk of connection) await connection.send(chunk);
}, { port: 8001 });

/**
 * A server that lets its requests finish when it is told to end.
 *
 * Ask for `/slow`, send the process a SIGTERM, and the answer still comes.
 */
import process from "node:process";
import { http } from "../mod.ts";

const server = await http.serve(async (request) => {
  if (new URL(request.url).pathname === "/slow") {
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  return new Response("done\n");
}, { hostname: "127.0.0.1", port: 8000 });
console.log(`curl ${server.url}slow`);

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    console.log("Closing");
    await server.close({ timeout: 5000 });
    console.log("Closed");
  });
}

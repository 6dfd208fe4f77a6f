import { http } from "../mod.ts";

const server = await http.serve(
  (request) => new Response(request.body),
  { port: 8000 },
);
console.log(`curl -d hello ${server.url}`);

import { http } from "../mod.ts";

await http.serve((request) => new Response(request.body), { port: 8000 });

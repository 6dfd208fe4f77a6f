// A peer on node:http2, in a process of its own and always Node: its server on
// Deno corrupts memory.
//
//   node _h2_node.mjs serve          prints its port
//   node _h2_node.mjs fetch URL CA   prints what came as a line of JSON
import http2 from "node:http2";
import { readFileSync } from "node:fs";
import process from "node:process";

const [, , role, url, ca] = process.argv;

function serve() {
  const server = http2.createServer({ settings: { maxConcurrentStreams: 50 } });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    const path = headers[":path"];
    if (path === "/echo") {
      stream.respond({ ":status": 200, "x-method": headers[":method"] });
      stream.pipe(stream);
    } else if (path === "/hints") {
      stream.additionalHeaders({ ":status": 103, link: "</a>" });
      stream.respond({ ":status": 200 });
      stream.end("hinted");
    } else if (path === "/trailers") {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "7" }));
      stream.end("body");
    } else if (path === "/refuse") {
      stream.close(7);
    } else if (path === "/away") {
      stream.respond({ ":status": 200 });
      stream.end("bye");
      stream.session.close();
    } else {
      stream.respond({ ":status": 200, "set-cookie": ["a=1", "b=2"] });
      stream.end(JSON.stringify({ ...headers }));
    }
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
}

/** Collects one exchange. */
function ask(session, headers, body) {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers);
    const seen = { informed: [], text: "" };
    stream.setEncoding("utf8");
    stream.on("headers", (head) => seen.informed.push(head[":status"]));
    stream.on("response", (head) => {
      seen.status = head[":status"];
      seen.length = head["content-length"];
    });
    stream.on("trailers", (trailers) => seen.trailers = trailers["x-sum"]);
    stream.on("data", (text) => seen.text += text);
    stream.on("error", (error) => seen.error = error.code);
    stream.on("close", () => resolve(seen));
    session.once("error", reject);
    if (body === undefined) stream.end();
    else stream.end(body);
  });
}

async function fetchAll() {
  const session = http2.connect(url, { ca: readFileSync(ca) });
  const seen = [];
  seen.push(await ask(session, { ":path": "/" }));
  const big = "x".repeat(500_000);
  const echo = await ask(session, { ":path": "/echo", ":method": "POST" }, big);
  seen.push({ ...echo, text: echo.text === big });
  seen.push(await ask(session, { ":path": "/trailers" }));
  seen.push(await ask(session, { ":path": "/hints" }));
  seen.push(await ask(session, { ":path": "/breaks" }));
  const many = await Promise.all(
    Array.from({ length: 100 }, () => ask(session, { ":path": "/" })),
  );
  seen.push(many.every(({ status }) => status === 200));
  await new Promise((resolve) => session.close(resolve));
  console.log(JSON.stringify(seen));
}

if (role === "serve") serve();
else await fetchAll();

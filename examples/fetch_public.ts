/**
 * Fetches what strangers ask for, and never from our own network (SSRF).
 *
 * `curl 'http://127.0.0.1:8000/?url=http://localhost:8000/'` is refused, and so
 * is any name, address or redirect that leads to an address of the lists below:
 * the client connects to nothing that `lookup` did not give.
 */
import { lookup as resolve } from "node:dns/promises";
import { BlockList } from "node:net";
import { http } from "../mod.ts";

/** IPv4 networks that are not public (IANA's special-purpose registry). */
const inside = new BlockList();
for (
  const network of [
    ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8"],
    ...["169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"],
    ...["192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"],
    ...["198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"],
  ]
) {
  const [address, bits] = network.split("/");
  inside.addSubnet(address, Number(bits), "ipv4");
}
/** Of IPv6, what is public at all, and the parts of it that are not. */
const global = new BlockList();
global.addSubnet("2000::", 3, "ipv6");
const reserved = new BlockList();
for (
  const [address, bits] of [
    ...[["2001::", 23], ["2001:db8::", 32], ["2002::", 16]] as const,
    ...[["3fff::", 20]] as const,
  ]
) reserved.addSubnet(address, bits, "ipv6");

function isPublic({ address, family }: http.LookupAddress): boolean {
  return family === 4
    ? !inside.check(address, "ipv4")
    : !/^::|%/.test(address) && global.check(address, "ipv6") &&
      !reserved.check(address, "ipv6");
}

const lookup: http.Lookup = async (hostname, { family = 0 }) => {
  const found = await resolve(hostname, { all: true, family });
  const outside = found.filter(isPublic);
  if (outside.length === 0) throw new Error("it is not of the public network");
  return outside;
};

const client = new http.Client({
  lookup,
  timeout: 10_000,
  maxResponseSize: 1024 * 1024,
});

const server = await http.serve(async (request) => {
  const url = new URL(request.url).searchParams.get("url") ?? "";
  try {
    const { status, headers, body } = await client.get(url);
    const type = headers.get("content-type") ?? "application/octet-stream";
    return new Response(body, { status, headers: { "content-type": type } });
  } catch (error) {
    return new Response(`${(error as Error).message}\n`, { status: 403 });
  }
}, { hostname: "127.0.0.1", port: 8000 });
console.log(`curl '${server.url}?url=http://example.com/'`);

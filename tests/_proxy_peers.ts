import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { tool, until, within } from "./_support.ts";
import { LOCAL } from "./_proxies.ts";

/** A proxy of Debian's, in a process of its own. */
export interface Peer {
  readonly port: number;
  close(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await within(
    new Promise<void>((resolve) => server.listen(0, LOCAL, () => resolve())),
  );
  const { port } = server.address() as net.AddressInfo;
  await within(new Promise<void>((resolve) => server.close(() => resolve())));
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: LOCAL, port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** Starts it at a free port; at another one when somebody was faster. */
export async function start(
  name: string,
  args: (port: number, folder: string) => string[],
): Promise<Peer> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-proxy-"));
  for (let attempt = 0;; attempt++) {
    const port = await freePort();
    const child = spawn(tool(name)!, args(port, folder), { stdio: "ignore" });
    let over = false;
    const ended = new Promise<void>((resolve) =>
      child.once("close", () => {
        over = true;
        resolve();
      })
    );
    await until(
      async () => over || await answers(port),
      `${name} there`,
      10_000,
    );
    if (over && attempt < 5) continue;
    return {
      port,
      async close() {
        child.kill("SIGKILL");
        await within(ended);
        rmSync(folder, { recursive: true });
      },
    };
  }
}

/** An HTTP proxy that wants to know who one is: `user`, `secret`. */
export function tinyproxy(): Promise<Peer> {
  return start("tinyproxy", (port, folder) => {
    const file = join(folder, "tinyproxy.conf");
    writeFileSync(
      file,
      [
        `Port ${port}`,
        `Listen ${LOCAL}`,
        "Timeout 60",
        "MaxClients 50",
        "StartServers 1",
        "BasicAuth user secret",
        "DisableViaHeader Yes",
      ].join("\n") + "\n",
    );
    return ["-d", "-c", file];
  });
}

/** A SOCKS5 proxy; with a user, it wants to know. */
export function microsocks(user?: string, password = ""): Promise<Peer> {
  return start("microsocks", (port) => [
    ...["-i", LOCAL, "-p", String(port)],
    ...(user === undefined ? [] : ["-u", user, "-P", password]),
  ]);
}

/** A proxy for SOCKS4 and SOCKS5 alike. */
export function dante(): Promise<Peer> {
  return start("danted", (port, folder) => {
    const file = join(folder, "danted.conf");
    writeFileSync(
      file,
      `logoutput: /dev/null
internal: ${LOCAL} port = ${port}
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 command: connect }
`,
    );
    return ["-f", file, "-N", "1", "-p", join(folder, "pid")];
  });
}

/** TLS in front of another one, by OpenSSL. */
export function socatTls(behind: number): Promise<Peer> {
  const file = (name: string) =>
    fileURLToPath(new URL(`./certs/${name}`, import.meta.url));
  return start("socat", (port) => [
    `OPENSSL-LISTEN:${port},bind=${LOCAL},fork,reuseaddr,verify=0,` +
    `cert=${file("server.pem")},key=${file("server.key")}`,
    `TCP:${LOCAL}:${behind}`,
  ]);
}

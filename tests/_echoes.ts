import { bind } from "../udp/mod.ts";
import { connect as connectTcp } from "../tcp/mod.ts";
import { connect as connectWs } from "../ws/mod.ts";
import { assertEquals } from "./assert.ts";
import type { Program } from "./_programs.ts";
import { within } from "./_support.ts";

const hostname = "127.0.0.1";

/** Checks of a program that echoes, by protocol. */
export const echoes: Record<string, (program: Program) => Promise<void>> = {
  async http(program) {
    const response = await fetch(`http://127.0.0.1:${await program.port()}/`, {
      method: "POST",
      body: "Grüße",
    });
    assertEquals(response.status, 200);
    assertEquals(await response.text(), "Grüße");
  },

  async ws(program) {
    const port = await program.port();
    const socket = await connectWs(`ws://127.0.0.1:${port}/`);
    try {
      for (const message of ["Grüße", Uint8Array.of(0, 255), ""]) {
        await socket.send(message);
        assertEquals(await socket.receive({ timeout: 5000 }), message);
      }
      await within(socket.close(), 5000, "Closing");
    } finally {
      socket.destroy();
    }
  },

  async tcp(program) {
    const port = await program.port();
    const connection = await connectTcp({ hostname, port });
    try {
      const bytes = new Uint8Array(300_000).map((_, i) => i % 251);
      const sent = connection.send(bytes);
      const back = await within(connection.read(bytes.length), 5000, "Echo");
      assertEquals(back, bytes);
      await sent;
      await connection.closeWrite();
      assertEquals(await connection.receive({ timeout: 5000 }), undefined);
    } finally {
      connection.destroy();
    }
  },

  async udp(program) {
    const port = await program.port();
    const remote = { transport: "udp", hostname, port } as const;
    const socket = await bind({ remote });
    try {
      await socket.send({ data: "Grüße" });
      const datagram = await socket.receive({ timeout: 5000 });
      assertEquals(new TextDecoder().decode(datagram!.data), "Grüße");
    } finally {
      socket.destroy();
    }
  },
};

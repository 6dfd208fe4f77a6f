type Callback = (error?: Error | null) => void;

/** What is written to a `res`, as the stream of a `Response`. */
export class NodeBodyFeed {
  readonly readable: ReadableStream<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #pulled: (() => void) | undefined;
  /** Waits for somebody to want more. */
  #waiting: (() => void) | undefined;
  #over = false;

  constructor(onCancel: (reason: unknown) => void) {
    this.readable = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => {
        const given = new Promise<void>((resolve) => {
          this.#pulled = resolve;
        });
        const waiting = this.#waiting;
        this.#waiting = undefined;
        waiting?.();
        return given;
      },
      cancel: (reason) => {
        this.#over = true;
        onCancel(reason);
      },
    }, { highWaterMark: 0 });
  }

  /** Calls back once more is wanted. */
  send(chunks: readonly Uint8Array[], callback: Callback): void {
    this.#whenWanted(() => {
      if (this.#over) return callback();
      for (const { buffer, byteOffset, byteLength } of chunks) {
        if (byteLength === 0) continue;
        this.#controller.enqueue(
          new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength),
        );
      }
      this.#waiting = callback;
      this.#give();
    });
  }

  end(callback: Callback): void {
    this.#whenWanted(() => {
      if (!this.#over) {
        this.#over = true;
        this.#controller.close();
        this.#give();
      }
      callback();
    });
  }

  fail(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#controller.error(error);
    this.#give();
  }

  #whenWanted(callback: () => void): void {
    if (this.#pulled !== undefined || this.#over) callback();
    else this.#waiting = callback;
  }

  #give(): void {
    this.#pulled?.();
    this.#pulled = undefined;
  }
}

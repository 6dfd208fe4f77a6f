import type { Source } from "../streams/mod.ts";

/** All that a source still gives. */
export async function all<T>(source: Source<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const message of source) list.push(message);
  return list;
}

/** Lets everything run that waits for nothing but its turn. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Numbers below `n` that are the same in every run with the same seed. */
export function randomly(seed: number): (n: number) => number {
  return (n) => {
    // mulberry32: the low bits are as good as the high ones.
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

/** An abort controller whose signal counts the listeners on it. */
export function counted(): {
  controller: AbortController;
  signal: AbortSignal;
  listeners: () => number;
} {
  const controller = new AbortController();
  const { signal } = controller;
  const held = new Set<unknown>();
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = ((...args: Parameters<typeof add>) => {
    held.add(args[1]);
    add(...args);
  }) as typeof signal.addEventListener;
  signal.removeEventListener = ((...args: Parameters<typeof remove>) => {
    held.delete(args[1]);
    remove(...args);
  }) as typeof signal.removeEventListener;
  return { controller, signal, listeners: () => held.size };
}

/** How many timers are armed while the function runs and are not cleared. */
export async function timersLeft(run: () => Promise<void>): Promise<number> {
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const armed = new Set<unknown>();
  const global = globalThis as unknown as Record<string, unknown>;
  global.setTimeout = (fn: () => void, ms?: number) => {
    const timer = set(() => {
      armed.delete(timer);
      fn();
    }, ms);
    armed.add(timer);
    return timer;
  };
  global.clearTimeout = (timer: ReturnType<typeof set>) => {
    armed.delete(timer);
    clear(timer);
  };
  try {
    await run();
    return armed.size;
  } finally {
    global.setTimeout = set;
    global.clearTimeout = clear;
    for (const timer of armed) clear(timer as ReturnType<typeof set>);
  }
}

/** Rejections that nobody handled while the function ran. */
export async function unhandled(run: () => Promise<void>): Promise<unknown[]> {
  const { default: process } = await import("node:process");
  const reasons: unknown[] = [];
  const note = (reason: unknown) => void reasons.push(reason);
  process.on("unhandledRejection", note);
  try {
    await run();
    await settled();
    await settled();
  } finally {
    process.off("unhandledRejection", note);
  }
  return reasons;
}

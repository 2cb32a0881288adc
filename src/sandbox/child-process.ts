import type { JsonObject } from "../agent/json.ts";
import { messageOf } from "../errors.ts";
import { sandboxLimits } from "../limits.ts";
import { type Frame, decodeFrame, encodeFrame, prefixBytes, readPrefix } from "./frame.ts";

/** How a child ended, as far as is known. */
export type ChildEnd = {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** The last of what it wrote to stderr. */
  readonly stderr: string;
};

export type Child = {
  readonly pid: number;
  /** Sends one request. The frames that come until the next one answer it. */
  send(header: JsonObject): void;
  kill(): void;
  readonly ended: Promise<ChildEnd>;
};

/**
 * What JavaScriptCore is told in the children. The cost bound lets its best compiler take large functions (Go programs
 * run 1.3 times as fast). At half the number of memories that it may map whole it collects in the middle of calls, and
 * beyond that number code runs half as fast. Metering is over before JavaScript's best compiler (WebAssembly has another)
 * gives back what it takes: a third of the time. The others switch off what the decoder refuses anyway. A name that the
 * engine does not know keeps Bun from starting.
 */
export const childEnvironment = {
  BUN_JSC_maximumOMGCandidateCost: "5000",
  BUN_JSC_maxNumWasmFastMemories: "64",
  BUN_JSC_useFTLJIT: "0",
  BUN_JSC_useWasmRelaxedSIMD: "0",
  BUN_JSC_useWasmMultiMemory: "0",
  BUN_JSC_useWasmWideArithmetic: "0",
  BUN_JSC_useJSPI: "0",
} as const;

/** Puts frames together from the pieces in which they come. */
const openAssembler = (onFrame: (frame: Frame) => void): ((piece: Uint8Array) => void) => {
  let parts: Uint8Array[] = [];
  let have = 0;
  let need = prefixBytes;
  let sizes: { readonly head: number; readonly body: number } | null = null;
  const take = (): Uint8Array => {
    const whole = parts.length === 1 ? (parts[0] ?? new Uint8Array(0)) : Buffer.concat(parts);
    parts = whole.length > need ? [whole.subarray(need)] : [];
    have = whole.length - need;
    return whole.subarray(0, need);
  };
  return (piece) => {
    parts.push(piece);
    have += piece.length;
    while (have >= need) {
      const bytes = take();
      if (sizes === null) {
        sizes = readPrefix(bytes);
        need = sizes.head + sizes.body;
      } else {
        const { head } = sizes;
        sizes = null;
        need = prefixBytes;
        onFrame(decodeFrame(bytes, head));
      }
    }
  };
};

const readLast = async (stream: ReadableStream<Uint8Array>): Promise<string> => {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of stream) {
    text = (text + decoder.decode(piece, { stream: true })).slice(-sandboxLimits.childLogCharsMax);
  }
  return text.trim();
};

/** Starts a child. `command` ends with what makes the binary a child; its own process id is added. */
export const spawnChild = (command: readonly string[], onFrame: (frame: Frame) => void): Child => {
  const child = Bun.spawn([...command, String(process.pid)], {
    env: childEnvironment,
    cwd: "/",
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
  const kill = (): void => child.kill("SIGKILL");
  const readFrames = async (): Promise<void> => {
    const assemble = openAssembler(onFrame);
    for await (const piece of child.stdout) assemble(piece);
  };
  const watch = async (): Promise<ChildEnd> => {
    // What is not a frame ends the child: nothing that it says later could be trusted.
    const frames = readFrames().catch((error: unknown) => {
      kill();
      return messageOf(error);
    });
    const [stderr, broken] = await Promise.all([readLast(child.stderr), frames, child.exited]);
    return {
      exitCode: child.exitCode,
      signal: child.signalCode === null ? null : String(child.signalCode),
      stderr: broken === undefined ? stderr : `${stderr} ${broken}`.trim(),
    };
  };
  const write = async (frame: Uint8Array): Promise<void> => {
    try {
      await child.stdin.write(frame);
      await child.stdin.flush();
    } catch {
      // The child is gone or going: its end tells.
      kill();
    }
  };
  return {
    pid: child.pid,
    send: (header) => void write(encodeFrame(header)),
    kill,
    ended: watch(),
  };
};

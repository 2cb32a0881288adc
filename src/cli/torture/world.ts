import type { TortureOptions } from "./options.ts";
import type { Random } from "./random.ts";
import type { Row } from "./rows.ts";
import type { Found, Subject } from "./subject.ts";

/** One engine from being ready to its end. */
export type Life = {
  /** Tells it from every other engine and from itself before and after. */
  readonly name: string;
  readonly url: string;
  /** Resolves when it is being ended. */
  readonly over: Promise<void>;
};

/** Where one client finds an engine. */
export type Host = {
  /** The engine to ask next; waits while there is none. */
  now(): Promise<Life>;
  /** It broke off, kept silent or could not answer: where there is another, that one is asked next. */
  leave(life: Life): void;
  /** Silence of a stream after which its engine is taken for gone; null: there is no other anyway. */
  readonly silenceMs: number | null;
  /** Between a call that was in vain and the next. */
  readonly retryMs: number;
  /** Share of streams that the client itself breaks off. */
  readonly dropShare: number;
};

/** Is told who waits for something of an agent, and who was given it. */
export type Audience = {
  /** A client waits for something of its agent, until the function given is called. */
  enter(name: string): () => void;
  /** A client was told something new; `byAgent`: that its agent did, and not a client. */
  news(name: string, byAgent: boolean): void;
};

/** The engines under torture. */
export type World = {
  /** Starts them. */
  begin(): Promise<void>;
  host(random: Random): Host;
  readonly audience: Audience;
  /** Of a model at most, from word to word. */
  readonly paceMsMax: number;
  /** Hurts them until `stopped`, the time or the count is over, and leaves every one of them there and well. */
  torment(stopped: AbortSignal): Promise<void>;
  /** Each engine by itself, to compare what they say. */
  each(): readonly Host[];
  /** Looks at the store itself, with every agent at rest, and stops the engines. */
  end(): Promise<readonly Row[]>;
  /** Leaves nothing running, whatever it is doing. */
  abandon(): Promise<void>;
  /** What was done so far, in a few words. */
  progress(): string;
  /** What was done, for the report. */
  rows(): readonly Row[];
};

export type WorldParts = {
  readonly options: TortureOptions;
  readonly folder: string;
  readonly random: Random;
  readonly onViolation: (found: Found) => void;
  /** The agent that each client is playing with. */
  readonly playing: ReadonlyMap<string, Subject>;
};

/** Calls `otherwise`, and waits no longer, where the promise has not settled in time. */
export async function within(
  promise: Promise<unknown>,
  limitMs: number,
  otherwise: () => void,
): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    otherwise();
    late.resolve();
  }, limitMs);
  try {
    await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

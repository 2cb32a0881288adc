import { afterAll, afterEach } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { JsonObject } from "../../src/agent/json.ts";
import type { Model } from "../../src/llm/model.ts";
import type { ServerSettings } from "../../src/llm/transport.ts";

type Stand = {
  readonly url: string;
  readonly chats: { length: number };
  readonly others: { length: number };
  close(): unknown;
};

type Settings = ServerSettings & {
  readonly options: JsonObject;
  readonly log: (line: string) => void;
};

/** A stand-in, and adapters that ask it. */
export type WithServer<S extends Stand, T extends Settings> = {
  readonly fake: S;
  readonly openModel: (more?: Partial<T>) => Model;
  /** What the adapters told the operator. */
  readonly logged: readonly string[];
};

/** For all tests of a file; as new for each. `open` makes an adapter, of these settings but for some wishes. */
export const sharing = <S extends Stand, T extends Settings>(
  fake: S,
  open: (settings: Settings, more: Partial<T>) => Model,
): WithServer<S, T> => {
  const logged: string[] = [];
  afterEach(() => {
    for (const list of [fake.chats, fake.others, logged]) list.length = 0;
  });
  afterAll(() => fake.close());
  const settings: Settings = {
    url: fake.url,
    timeoutMs: 30_000,
    clock: systemClock,
    options: {},
    log: (line) => void logged.push(line),
  };
  return { fake, logged, openModel: (more = {}) => open(settings, more) };
};

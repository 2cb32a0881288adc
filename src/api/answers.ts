import { EngramError } from "../errors.ts";
import { failureOf } from "./failures.ts";

/** An answer whose expected failures leave as Connect errors. */
export async function answered<T>(answer: () => Promise<T>): Promise<T> {
  try {
    return await answer();
  } catch (error) {
    throw failureOf(error);
  }
}

/** The same of a stream; `check` comes first. */
export async function* streamed<T>(
  stream: AsyncIterable<T>,
  check = (): void => {},
): AsyncGenerator<T> {
  try {
    check();
    yield* stream;
  } catch (error) {
    throw failureOf(error);
  }
}

/** Throws invalid_argument where no agent is named. */
export function mustName(agentId: string): void {
  if (agentId === "") throw new EngramError("invalid_argument", "agent_id is missing");
}

import { EngramError } from "../errors.ts";
import { turnLimits } from "../limits.ts";

/** Fails with a transient model_error where a reply asks for more tool calls than it may. */
export function mustBeFew(calls: number): void {
  if (calls > turnLimits.toolCallsPerReplyMax)
    throw new EngramError(
      "model_error",
      `the model asked for more than ${turnLimits.toolCallsPerReplyMax} tool calls at once`,
      { transient: true },
    );
}

/** Fails with a transient model_error where a tool's input, or a name that is none, is longer than an input may be. */
export function mustFit(inputChars: number): void {
  if (inputChars > turnLimits.toolInputCharsMax)
    throw new EngramError(
      "model_error",
      `the model wrote a tool input of more than ${turnLimits.toolInputCharsMax} characters`,
      { transient: true },
    );
}

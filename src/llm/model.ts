import type { ModelAbilities, Usage } from "../agent/event.ts";
import type { ModelRequest } from "../agent/request.ts";

/**
 * A piece of a reply, in the order in which it came. `thinking` and `text` are deltas. A `toolCall` is whole; its
 * input is JSON text as the model wrote it. `done` comes once, last: a stream that ends without it has failed.
 */
export type ModelPiece =
  | { readonly kind: "thinking"; readonly text: string }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "toolCall"; readonly name: string; readonly inputJson: string }
  | { readonly kind: "done"; readonly usage: Usage };

/** A model server. Holds no state that an agent depends on. */
export interface Model {
  /**
   * Streams one reply. `signal` stops it at the server too, at any moment, before the first byte as well; it then
   * throws the signal's reason. Ending the iteration early does the same. Fails with model_unavailable (not
   * reachable, overloaded: transient), model_not_found, model_timeout (silence: transient), model_error (transient
   * where a repetition can help) or context_overflow; `retryAfterMs` holds what the server asked for.
   */
  call(request: ModelRequest, signal: AbortSignal): AsyncIterable<ModelPiece>;
  /**
   * Whether the model goes on with a trailing assistant message; found out by asking the server, never assumed. False
   * where the server cannot say or cannot be asked; throws only `signal`'s reason. It may take as long as the server
   * needs to load the model.
   */
  continuesPartial(model: string, thinking: boolean, signal: AbortSignal): Promise<boolean>;
  /**
   * What the model can do, as its server says; remembered for a while, and corrected by what calls are refused for. A
   * server that cannot say or cannot be asked is taken to support all; throws only `signal`'s reason.
   */
  abilities(model: string, signal: AbortSignal): Promise<ModelAbilities>;
  /** The body of a request as it is sent, to the byte. */
  bodyOf(request: ModelRequest): string;
}

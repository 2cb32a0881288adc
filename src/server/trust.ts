import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { serverLimits } from "../limits.ts";

/** What an HTTP/2 connection has shown of itself. Floods are made of streams that ask nothing: a row of them ends it. */
export type Trust = {
  readonly began: (stream: ServerHttp2Stream) => void;
  /** A request has come, or was answered: it is a client, and may have more calls at once. */
  readonly asked: () => void;
};

/** Of streams that break the protocol's rules, whichever end found it out. Who cancels gives other codes. */
const brokenRules: ReadonlySet<number> = new Set([
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_FLOW_CONTROL_ERROR,
  constants.NGHTTP2_STREAM_CLOSED,
  constants.NGHTTP2_FRAME_SIZE_ERROR,
]);

/** The server had to reset it, and the runtime tells so only when all is read that came together. */
const isResetUntold = (stream: ServerHttp2Stream): boolean =>
  !stream.closed &&
  stream.rstCode !== constants.NGHTTP2_CANCEL &&
  stream.state.state === constants.NGHTTP2_STREAM_STATE_CLOSED;

export function makeTrust(session: ServerHttp2Session): Trust {
  let trusted = false;
  let unasked = 0;
  let last: ServerHttp2Stream | null = null;
  let broken = 0;
  const counted = new WeakSet<ServerHttp2Stream>();
  const cut = (): void => {
    if (session.destroyed) return;
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    session.destroy();
  };
  const broke = (stream: ServerHttp2Stream): void => {
    if (counted.has(stream)) return;
    counted.add(stream);
    broken += 1;
    if (broken > serverLimits.brokenStreamsMax) cut();
  };
  const asked = (): void => {
    unasked = 0;
    last = null;
    broken = 0;
    if (trusted || session.closed || session.destroyed) return;
    trusted = true;
    session.settings({ maxConcurrentStreams: serverLimits.streamsPerConnectionMax });
  };
  return {
    began: (stream) => {
      unasked += 1;
      if (last !== null && isResetUntold(last)) broke(last);
      last = stream;
      stream.once("finish", asked).once("close", () => {
        if (brokenRules.has(stream.rstCode)) broke(stream);
      });
      // A client may say the heads of all its calls before the first message of any.
      const max = trusted
        ? 2 * serverLimits.streamsPerConnectionMax
        : serverLimits.unaskedStreamsMax;
      if (unasked > max) cut();
    },
    asked,
  };
}

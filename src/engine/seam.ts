/**
 * The model was sent `begun` without its trailing white space, which it may write again: what it repeats of that is left
 * out, so that text and continuation join without a gap or a double. What it repeats of the text itself is its own: an
 * answer may say the same twice, and only a model that is known to go on is asked to.
 */
export function makeSeam(begun: string): (content: string) => string {
  let expected = begun.slice(begun.trimEnd().length);
  return (content) => {
    let same = 0;
    while (same < expected.length && same < content.length && expected[same] === content[same])
      same++;
    expected = same === content.length ? expected.slice(same) : "";
    return content.slice(same);
  };
}

// Counts what is in a text. Models see tokens, not letters: they cannot count either by looking.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// UTF-8, with a 0 behind it.
typedef struct {
  const char *at;
  size_t length;
} Text;

// The input, read from the front; strings are decoded in place, for that makes them no longer.
typedef struct {
  char *at;
} Input;

typedef struct {
  long characters, characters_without_spaces, words, sentences, lines, paragraphs;
} Counts;

// The message goes to the model, which can call again.
static _Noreturn void fail(const char *message) {
  fprintf(stderr, "%s\n", message);
  exit(1);
}

static char *read_all(void) {
  size_t size = 65536, length = 0;
  char *bytes = NULL;
  for (;;) {
    bytes = realloc(bytes, size);
    if (bytes == NULL) fail("the text is too long");
    length += fread(bytes + length, 1, size - 1 - length, stdin);
    if (length < size - 1) break;
    size *= 2;
  }
  bytes[length] = '\0';
  return bytes;
}

static void skip_space(Input *input) {
  input->at += strspn(input->at, " \t\r\n");
}

static bool take(Input *input, char wanted) {
  skip_space(input);
  if (*input->at != wanted) return false;
  input->at++;
  return true;
}

static uint32_t hex4(Input *input) {
  uint32_t value = 0;
  for (int i = 0; i < 4; i++) {
    const char *digits = "0123456789abcdef";
    char c = *input->at;
    const char *digit = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c | 0x20 : c);
    if (digit == NULL) fail("the input has a \\u without four hexadecimal digits");
    value = value << 4 | (uint32_t)(digit - digits);
    input->at++;
  }
  return value;
}

// A character beyond 16 bits is two escapes; half of one is no character.
static uint32_t escaped_code(Input *input) {
  uint32_t code = hex4(input);
  if (code < 0xd800 || code > 0xdfff) return code;
  if (code > 0xdbff || input->at[0] != '\\' || input->at[1] != 'u') return 0xfffd;
  char *second = input->at;
  input->at += 2;
  uint32_t low = hex4(input);
  if (low >= 0xdc00 && low <= 0xdfff) return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  input->at = second;
  return 0xfffd;
}

static char *put_utf8(char *to, uint32_t code) {
  if (code < 0x80) {
    *to++ = (char)code;
    return to;
  }
  int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  *to++ = (char)(0xff00 >> (more + 1) | code >> 6 * more);
  while (more-- > 0) *to++ = (char)(0x80 | (code >> 6 * more & 0x3f));
  return to;
}

static Text read_string(Input *input) {
  if (!take(input, '"')) fail("the input must be an object of texts");
  char *from = input->at, *to = from;
  for (char c; (c = *input->at++) != '"';) {
    if (c == '\0') fail("the input ends within a text");
    if (c != '\\') {
      *to++ = c;
      continue;
    }
    const char *names = "bfnrt\"\\/", *codes = "\b\f\n\r\t\"\\/";
    char name = *input->at;
    const char *found = name == '\0' ? NULL : strchr(names, name);
    if (found == NULL && name != 'u') fail("the input has an unknown escape");
    input->at++;
    if (found != NULL) *to++ = codes[found - names];
    else to = put_utf8(to, escaped_code(input));
  }
  *to = '\0';
  return (Text){from, (size_t)(to - from)};
}

// The next character; what is no UTF-8 counts byte by byte.
static uint32_t next_code(const unsigned char **at, const unsigned char *end) {
  uint32_t first = *(*at)++;
  int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : 0;
  if (more == 0 || end - *at < more) return first;
  uint32_t code = first & (0x3f >> more);
  for (int i = 0; i < more; i++) code = code << 6 | ((*at)[i] & 0x3f);
  *at += more;
  return code;
}

// White space as Unicode has it.
static bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
         c == 0x205f || c == 0x3000;
}

static bool ends_sentence(uint32_t c) {
  return c == '.' || c == '!' || c == '?' || c == 0x2026 || c == 0x3002 || c == 0xff01 ||
         c == 0xff1f;
}

// A quote or bracket behind a sentence's end belongs to it.
static bool closes(uint32_t c) {
  return c == '"' || c == '\'' || c == ')' || c == ']' || c == 0xbb || c == 0x2019 || c == 0x201d;
}

static Counts count(Text text) {
  Counts counts = {0};
  const unsigned char *at = (const unsigned char *)text.at, *end = at + text.length;
  bool in_word = false, in_sentence = false, in_paragraph = false, line_has_word = false;
  uint32_t mark = 0;
  counts.lines = text.length > 0 && end[-1] != '\n' ? 1 : 0;
  while (at < end) {
    uint32_t c = next_code(&at, end);
    bool space = is_space(c);
    counts.characters++;
    if (!space) {
      counts.characters_without_spaces++;
      if (!in_word) counts.words++;
      if (!in_sentence) counts.sentences++;
      if (!in_paragraph) counts.paragraphs++;
      in_sentence = in_paragraph = line_has_word = true;
      if (!closes(c)) mark = c;
    } else if (in_word && ends_sentence(mark)) {
      in_sentence = false;
    }
    in_word = !space;
    if (c != '\n') continue;
    counts.lines++;
    if (!line_has_word) in_sentence = in_paragraph = false;
    line_has_word = false;
  }
  return counts;
}

static long occurrences(Text text, Text wanted) {
  if (wanted.length == 0) fail("\"find\" is empty; give the text to look for");
  long found = 0;
  const char *end = text.at + text.length;
  for (const char *at = text.at; at + wanted.length <= end;) {
    bool here = memcmp(at, wanted.at, wanted.length) == 0;
    found += here;
    at += here ? wanted.length : 1;
  }
  return found;
}

int main(void) {
  Input input = {read_all()};
  Text text = {NULL, 0}, wanted = {NULL, 0};
  if (!take(&input, '{')) fail("the input must be an object");
  for (bool first = true; !take(&input, '}'); first = false) {
    if (!first && !take(&input, ',')) fail("the input lacks a comma");
    Text name = read_string(&input);
    if (!take(&input, ':')) fail("the input lacks a colon");
    Text value = read_string(&input);
    if (strcmp(name.at, "text") == 0) text = value;
    else if (strcmp(name.at, "find") == 0) wanted = value;
  }
  if (text.at == NULL) fail("give a \"text\"");
  Counts counts = count(text);
  printf("{\"characters\":%ld,\"characters_without_spaces\":%ld,\"words\":%ld,", counts.characters,
         counts.characters_without_spaces, counts.words);
  printf("\"sentences\":%ld,\"lines\":%ld,\"paragraphs\":%ld", counts.sentences, counts.lines,
         counts.paragraphs);
  if (wanted.at != NULL) printf(",\"found\":%ld", occurrences(text, wanted));
  printf("}");
  return 0;
}

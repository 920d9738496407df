/*
 * vectors.c - the codec of memhub.c, as it is inside. Each line of standard input is
 *
 *	decode HEX
 *	encode TYPE FLAGS REQUEST FIELD...
 *
 * A field is a number, "x" and hexadecimal digits, or "-" for one that is missing. Both answer with
 * a line of the other form.
 */
#include "memhub.c"

static uint8_t bytes[1 << 16];

/* Hexadecimal digits to bytes. */
static size_t load_digits(const char *digits, uint8_t *to)
{
    size_t count = 0;
    unsigned value;

    for (; sscanf(digits, "%2x", &value) == 1; digits += 2)
        to[count++] = (uint8_t)value;
    return count;
}

static void say_digits(const uint8_t *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf("%02x", from[i]);
}

static void decode(const char *digits)
{
    struct field fields[FIELDS_MOST];
    size_t count = load_digits(digits, bytes);
    uint16_t type = (uint16_t)load(bytes + 4, 2);
    const char *kinds = kinds_of(type);
    /* No byte more than there is, so that a sanitizer sees who goes past the end. */
    uint8_t *body = malloc(count > HEADER ? count - HEADER : 1);

    if (count > HEADER)
        memcpy(body, bytes + HEADER, count - HEADER);
    if (count < HEADER || kinds == NULL || load(bytes, 4) != count - HEADER ||
        !decode_body(kinds, body, count - HEADER, fields)) {
        puts("bad");
        free(body);
        return;
    }
    printf("%u %u %u", type, (unsigned)load(bytes + 6, 2), (unsigned)load(bytes + 8, 4));
    for (size_t i = 0; kinds[i] != '\0'; i++)
        if (kinds[i] == 'o' && fields[i].length == 0)
            printf(" -");
        else if (fields[i].bytes == NULL)
            printf(" %llu", (unsigned long long)fields[i].number);
        else {
            printf(" x");
            say_digits(fields[i].bytes, fields[i].length);
        }
    putchar('\n');
    free(body);
}

static void encode(char *line)
{
    struct field fields[FIELDS_MOST] = {0};
    unsigned long long head[3], number;
    struct buffer out = {0};
    size_t used = 0, count = 0;
    char *word = strtok(line, " ");

    for (size_t i = 0; i < 3; i++, word = strtok(NULL, " "))
        sscanf(word, "%llu", &head[i]);
    for (; word != NULL; word = strtok(NULL, " "), count++)
        if (word[0] == 'x') {
            fields[count] = BYTES(bytes + used, load_digits(word + 1, bytes + used));
            used += fields[count].length;
        } else if (sscanf(word, "%llu", &number) == 1)
            fields[count] = OPTION(number, 1);
    if (encode_frame(&out, (uint16_t)head[0], (uint16_t)head[1], (uint32_t)head[2], fields,
            UINT32_MAX) != 0)
        printf("bad");
    say_digits(out.data + out.start, buffer_length(&out));
    putchar('\n');
    buffer_free(&out);
}

int main(void)
{
    static char line[1 << 17];

    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "decode ", 7) == 0)
            decode(line + 7);
        else
            encode(line + 7);
    }
    return 0;
}

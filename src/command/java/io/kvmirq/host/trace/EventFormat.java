/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * The text of an event, as the event's {@code format} file says how the kernel prints it. A number has the name of its
 * field, or of the word before it if the kernel computes it: {@code vec} in {@code "dst %llx vec %u"}. A choice between
 * two words by a field is 1 or 0. Immutable.
 *
 * <p>Source: {@code f_show()} in kernel/trace/trace_events.c.
 */
public final class EventFormat {
    private static final String NAME = "name: ";
    private static final String PRINT = "print fmt: \"";
    private static final int MOST_CHARACTERS = 1 << 14;
    private static final int DECIMAL = 10;
    private static final int HEX = 16;
    /** {@code TASK_COMM_LEN} without the zero that ends it. */
    private static final int LONGEST_NAME = 15;

    /**
     * A conversion and the text before it.
     *
     * @param before the text before it
     * @param radix of a number; 0 for text
     * @param key empty if the value is of no use
     * @param words of a choice: the word for 1, and that for 0. Empty for others
     */
    private record Piece(String before, int radix, String key, List<String> words) {
        /** Whether it is the name of a thread, which any thread may choose. */
        boolean isName() {
            return radix == 0 && key.endsWith("comm");
        }
    }

    private final String name;
    private final List<Piece> pieces;
    private final String end;

    private EventFormat(String name, List<Piece> pieces, String end) {
        this.name = name;
        this.pieces = List.copyOf(pieces);
        this.end = end;
    }

    /** Reads a {@code format} file. Empty if it has another form. */
    public static Optional<EventFormat> parse(String text) {
        if (text.length() > MOST_CHARACTERS) {
            return Optional.empty();
        }
        String name = "";
        for (String line : text.split("\n")) {
            if (line.startsWith(NAME)) {
                name = line.substring(NAME.length()).strip();
            } else if (line.startsWith(PRINT) && !name.isEmpty()) {
                return print(name, line.substring(PRINT.length()));
            }
        }
        return Optional.empty();
    }

    private static Optional<EventFormat> print(String name, String line) {
        int quote = endOfString(line, 0);
        if (quote < 0) {
            return Optional.empty();
        }
        String template = line.substring(0, quote).replace("\\\"", "\"");
        List<String> arguments = arguments(line.substring(quote + 1));
        List<Piece> pieces = new ArrayList<>();
        StringBuilder before = new StringBuilder();
        int used = 0;
        for (int at = 0; at < template.length(); at++) {
            char c = template.charAt(at);
            if (c != '%') {
                before.append(c);
                continue;
            }
            int conversion = at + 1;
            while (conversion < template.length() && "-+ #0123456789.hlzjt".indexOf(template.charAt(conversion)) >= 0) {
                conversion++;
            }
            if (conversion == template.length()) {
                return Optional.empty();
            }
            char kind = template.charAt(conversion);
            at = conversion;
            if (kind == '%') {
                before.append('%');
                continue;
            }
            if (used == arguments.size()) {
                return Optional.empty();
            }
            pieces.add(piece(before.toString(), kind, arguments.get(used)));
            used++;
            before.setLength(0);
        }
        return Optional.of(new EventFormat(name, pieces, before.toString()));
    }

    /** The place of the quote that ends a string. */
    private static int endOfString(String text, int from) {
        for (int at = from; at < text.length(); at++) {
            if (text.charAt(at) == '\\') {
                at++;
            } else if (text.charAt(at) == '"') {
                return at;
            }
        }
        return -1;
    }

    /** Splits at the commas outside of brackets and strings. */
    private static List<String> arguments(String text) {
        List<String> all = new ArrayList<>();
        int depth = 0;
        int begin = 0;
        for (int at = 0; at < text.length(); at++) {
            switch (text.charAt(at)) {
                case '(', '{', '[' -> depth++;
                case ')', '}', ']' -> depth--;
                case '"' -> {
                    int end = endOfString(text, at + 1);
                    at = end < 0 ? text.length() : end;
                }
                case ',' -> {
                    if (depth == 0) {
                        all.add(text.substring(begin, at).strip());
                        begin = at + 1;
                    }
                }
                default -> {}
            }
        }
        all.add(text.substring(begin).strip());
        return all.subList(1, all.size());
    }

    private static Piece piece(String before, char kind, String argument) {
        int radix =
                switch (kind) {
                    case 'd', 'i', 'u' -> DECIMAL;
                    case 'x', 'X' -> HEX;
                    default -> 0;
                };
        String field = field(argument);
        if (!field.isEmpty() || radix != 0) {
            return new Piece(before, radix, field.isEmpty() ? lastWord(before) : field, List.of());
        }
        String[] choice = argument.split(" \\? ", 2);
        if (choice.length == 2 && !field(choice[0]).isEmpty()) {
            String[] words = choice[1].split(" : ", 2);
            if (words.length == 2 && isString(words[0]) && isString(words[1])) {
                return new Piece(before, 0, field(choice[0]), List.of(unquoted(words[0]), unquoted(words[1])));
            }
        }
        return new Piece(before, 0, "", List.of());
    }

    private static boolean isString(String text) {
        return text.length() > 1 && text.charAt(0) == '"' && endOfString(text, 1) == text.length() - 1;
    }

    private static String unquoted(String text) {
        return text.substring(1, text.length() - 1);
    }

    /** Of {@code REC->field}, also in brackets. Empty for all else. */
    private static String field(String bracketed) {
        String argument = bracketed.startsWith("(REC->") && bracketed.endsWith(")")
                ? bracketed.substring(1, bracketed.length() - 1)
                : bracketed;
        return argument.startsWith("REC->") && lastWord(argument).length() == argument.length() - "REC->".length()
                ? lastWord(argument)
                : "";
    }

    private static String lastWord(String text) {
        int end = text.length();
        while (end > 0 && !isOfName(text.charAt(end - 1))) {
            end--;
        }
        int begin = end;
        while (begin > 0 && isOfName(text.charAt(begin - 1))) {
            begin--;
        }
        return text.substring(begin, end);
    }

    private static boolean isOfName(char c) {
        return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_';
    }

    /** The event's name, such as {@code kvm_set_irq}. */
    public String name() {
        return name;
    }

    /** Whether events show a number of this name. */
    public boolean shows(String key) {
        return pieces.stream().anyMatch(piece -> piece.key().equals(key));
    }

    /**
     * The numbers in the text of one event. Empty if the text has another form. The name of a thread may hold what stands
     * behind it in the format: the first end of the name with which the whole text has the form counts.
     */
    Optional<Map<String, Long>> read(String text) {
        Map<String, Long> numbers = new HashMap<>();
        return read(text, 0, 0, numbers) ? Optional.of(numbers) : Optional.empty();
    }

    private boolean read(String text, int from, int first, Map<String, Long> numbers) {
        int at = from;
        for (int i = first; i < pieces.size(); i++) {
            Piece piece = pieces.get(i);
            if (!text.startsWith(piece.before(), at)) {
                return false;
            }
            at += piece.before().length();
            if (piece.isName()) {
                return readNamed(text, at, i, numbers);
            }
            int stop = stop(text, at, i);
            if (stop < at || !take(piece, text.substring(at, stop).strip(), numbers)) {
                return false;
            }
            at = stop;
        }
        return text.substring(at).equals(end);
    }

    /** The rest, behind the name that begins at a place. */
    private boolean readNamed(String text, int at, int name, Map<String, Long> numbers) {
        String after = before(name + 1);
        int latest = Math.min(text.length(), at + LONGEST_NAME);
        for (int stop = text.indexOf(after, at); stop >= 0 && stop <= latest; stop = text.indexOf(after, stop + 1)) {
            Map<String, Long> rest = new HashMap<>(numbers);
            if (read(text, stop, name + 1, rest)) {
                numbers.putAll(rest);
                return true;
            }
            if (stop == text.length()) {
                break;
            }
        }
        return false;
    }

    /** The place where a conversion ends. Of several in a row, a number has its digits, and a text has all. */
    private int stop(String text, int at, int piece) {
        int next = piece + 1;
        if (next < pieces.size() && before(next).isEmpty() && pieces.get(piece).radix() != 0) {
            return endOfNumber(text, at);
        }
        while (next < pieces.size() && before(next).isEmpty()) {
            next++;
        }
        String after = before(next);
        return after.isEmpty() ? text.length() : text.indexOf(after, at);
    }

    private static int endOfNumber(String text, int from) {
        int at = from;
        while (at < text.length() && "-0123456789abcdefABCDEFx".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        return at;
    }

    /** The text before a conversion, or the end of the format. */
    private String before(int piece) {
        return piece < pieces.size() ? pieces.get(piece).before() : end;
    }

    private static boolean take(Piece piece, String word, Map<String, Long> numbers) {
        OptionalLong value = value(piece, word);
        if (value.isPresent() && !piece.key().isEmpty()) {
            numbers.putIfAbsent(piece.key(), value.getAsLong());
        }
        return value.isPresent() || piece.radix() == 0;
    }

    private static OptionalLong value(Piece piece, String word) {
        if (piece.words().size() == 2) {
            int index = piece.words().indexOf(word);
            return index < 0 ? OptionalLong.empty() : OptionalLong.of(1 - index);
        }
        if (piece.radix() == 0) {
            return OptionalLong.empty();
        }
        try {
            String digits = piece.radix() == HEX && word.startsWith("0x") ? word.substring(2) : word;
            return OptionalLong.of(
                    digits.startsWith("-")
                            ? Long.parseLong(digits, piece.radix())
                            : Long.parseUnsignedLong(digits, piece.radix()));
        } catch (NumberFormatException e) {
            return OptionalLong.empty();
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.text;

/**
 * Makes foreign text printable: arguments, file and device names, snapshots, other libraries' messages. Foreign text
 * may have any length, and contain terminal commands or characters that hide other text.
 */
public final class Foreign {
    /** A word that somebody typed. */
    private static final int WORD = 40;

    /** A path, or a sentence that quotes one. */
    private static final int SENTENCE = 1000;

    private Foreign() {}

    /** The word in quotes, made {@link #printable}, and cut after 40 characters. */
    public static String quoted(String word) {
        return "'" + printable(word, WORD) + "'";
    }

    /** The path or sentence, made {@link #printable}, and cut after 1000 characters. */
    public static String shown(String sentence) {
        return printable(sentence, SENTENCE);
    }

    /** The whole text, with a question mark for each control character, invisible character and line end. */
    public static String printable(String text) {
        return printable(text, Integer.MAX_VALUE);
    }

    /** The first {@code longest} characters, with a question mark for each control or invisible character. */
    public static String printable(String text, int longest) {
        // No stream: it would be the only one at many a start of the command.
        StringBuilder shown = new StringBuilder();
        int at = 0;
        for (int count = 0; at < text.length() && count < longest; count++) {
            int c = text.codePointAt(at);
            shown.appendCodePoint(isPrinted(c) ? c : '?');
            at += Character.charCount(c);
        }
        return shown.append(at < text.length() ? "..." : "").toString();
    }

    private static boolean isPrinted(int c) {
        return switch (Character.getType(c)) {
            case Character.CONTROL,
                    Character.FORMAT,
                    Character.SURROGATE,
                    Character.PRIVATE_USE,
                    Character.UNASSIGNED,
                    Character.LINE_SEPARATOR,
                    Character.PARAGRAPH_SEPARATOR -> false;
            default -> true;
        };
    }
}

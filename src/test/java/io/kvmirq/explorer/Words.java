/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

/** The properties of each word of a model, in tables. */
final class Words {
    final boolean[] constant;
    /** The lock of each word, or -1. */
    final int[] lock;
    /** By actor, then by word. */
    final boolean[][] owned;

    final boolean[][] own;
    /** Whether only another actor may write the word, and whether only another may read it. */
    final boolean[][] anothers;

    final boolean[][] hidden;

    Words(Explorer.Model model, int words, int actors) {
        constant = new boolean[words];
        lock = new int[words];
        owned = new boolean[actors][words];
        own = new boolean[actors][words];
        anothers = new boolean[actors][words];
        hidden = new boolean[actors][words];
        for (int word = 0; word < words; word++) {
            constant[word] = model.isConstant(word);
            lock[word] = model.lockOf(word);
            for (int actor = 0; actor < actors; actor++) {
                own[actor][word] = model.isPrivate(actor, word);
                owned[actor][word] = own[actor][word] || model.owns(actor, word);
            }
            for (int actor = 0; actor < actors; actor++) {
                anothers[actor][word] = isOfAnother(owned, actor, word);
                hidden[actor][word] = isOfAnother(own, actor, word);
            }
        }
    }

    private static boolean isOfAnother(boolean[][] of, int actor, int word) {
        for (int other = 0; other < of.length; other++) {
            if (other != actor && of[other][word]) {
                return true;
            }
        }
        return false;
    }
}

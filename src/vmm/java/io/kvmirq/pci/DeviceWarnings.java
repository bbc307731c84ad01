/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Consumer;

/** A function's warnings for its VMM, each kind at most once between two resets. Thread-safe. */
final class DeviceWarnings {
    private static final System.Logger LOGGER = System.getLogger("io.kvmirq");

    private final String device;
    private final Consumer<String> receiver;
    private final Set<String> kinds = ConcurrentHashMap.newKeySet();
    /** Sentences to report after the lock is released. */
    private final Queue<String> sentences = new ConcurrentLinkedQueue<>();

    DeviceWarnings(String device, Consumer<String> receiver) {
        this.device = device;
        this.receiver = receiver;
    }

    /** A library exception's sentence, or any other exception's class and its message, if it has one. */
    static String text(RuntimeException e) {
        return e.getClass().getName().startsWith("io.kvmirq.") ? String.valueOf(e.getMessage()) : e.toString();
    }

    void add(String what, RuntimeException e) {
        add(what, what + e.getMessage());
    }

    void add(String kind, String sentence) {
        if (kinds.add(kind)) {
            sentences.add(device + ": " + sentence);
        }
    }

    /** Runs a step, and adds a warning if it throws. */
    void attempt(String what, Runnable step) {
        try {
            step.run();
        } catch (RuntimeException e) {
            add(what, e);
        }
    }

    /** Allows each kind of warning again. */
    void reset() {
        kinds.clear();
    }

    /** Passes the warnings to the receiver. The device's lock is not held. */
    void tell() {
        for (String sentence = sentences.poll(); sentence != null; sentence = sentences.poll()) {
            try {
                receiver.accept(sentence);
            } catch (RuntimeException e) { // not the guest's
                LOGGER.log(System.Logger.Level.WARNING, sentence + " (its receiver threw an exception)", e);
            }
        }
    }

    @Override
    public String toString() {
        return String.join(", ", sentences);
    }
}

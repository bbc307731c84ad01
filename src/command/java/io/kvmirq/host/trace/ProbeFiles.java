/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.function.Predicate;

/**
 * One process's probe files in tracefs, and their removal.
 *
 * @param name of the process, with which its probes and synthetic events begin
 */
record ProbeFiles(TraceFiles files, String name) {
    static final String PROBES = "kprobe_events";
    static final String SYNTHETIC = "synthetic_events";
    private static final String INSTANCES = "instances";
    private static final String OF_PROBES = "-probes";

    interface Operation {
        void run() throws IOException;
    }

    String instance() {
        return INSTANCES + "/" + name.replace('_', '-') + OF_PROBES;
    }

    String file(String event, String file) {
        return instance() + "/events/" + event + "/" + file;
    }

    private boolean isThere() {
        return files.list(INSTANCES).contains(name.replace('_', '-') + OF_PROBES);
    }

    private List<String> listed(String directory) {
        return files.list(directory).stream()
                .filter(event -> event.startsWith(name + "_"))
                .toList();
    }

    static String refusal(IOException e) {
        return e instanceof NoSuchFileException ? e.getMessage() + " does not exist" : String.valueOf(e.getMessage());
    }

    /**
     * Removes what killed processes left.
     *
     * @param isLeft whether the process of an instance's name is gone
     * @return a sentence for each process, without a full stop
     */
    static List<String> removeLeft(TraceFiles files, Predicate<String> isLeft) {
        TreeSet<String> names = new TreeSet<>();
        files.list(INSTANCES).stream()
                .filter(name -> name.endsWith(OF_PROBES))
                .forEach(name -> names.add(name.substring(0, name.length() - OF_PROBES.length())));
        for (String group : List.of(ProbePlan.GROUP, "synthetic")) {
            files.list("events/" + group).stream()
                    .map(name -> name.split("_", 5))
                    .filter(parts -> parts.length == 5)
                    .forEach(parts -> names.add(String.join("-", List.of(parts).subList(0, 4))));
        }
        List<String> sentences = new ArrayList<>();
        for (String name : names) {
            if (isLeft.test(name)) {
                String left = new ProbeFiles(files, name.replace('-', '_')).removeAll();
                sentences.add(
                        left.isEmpty()
                                ? "removed the probes " + name + ", which a killed kvmirq had left"
                                : "the probes " + name + " were left by a killed kvmirq and cannot be removed: "
                                        + left);
            }
        }
        return sentences;
    }

    /** Removes all of a process that is there. Returns the first refusal, or nothing. */
    String removeAll() {
        List<Operation> steps = new ArrayList<>();
        List<String> synthetics = listed("events/synthetic");
        List<String> probes = listed("events/" + ProbePlan.GROUP);
        if (isThere()) {
            List<String> events = new ArrayList<>();
            synthetics.forEach(synthetic -> events.add("synthetic/" + synthetic));
            // The first ones have triggers that read variables of the later ones.
            events.add(ProbePlan.INJECTED);
            events.add(ProbePlan.ENDED);
            events.add(ProbePlan.ACCEPTED);
            events.addAll(ProbePlan.CHIPS);
            for (String probe : List.of(
                    ProbePlan.QUEUED,
                    ProbePlan.RAISED,
                    ProbePlan.WORKER,
                    ProbePlan.DELIVERED,
                    ProbePlan.WAKEUP,
                    ProbePlan.HOST_IRQ)) {
                events.add(ProbePlan.GROUP + "/" + name + probe);
            }
            for (String event : events) {
                if (!files.list(file(event, "")).isEmpty()) {
                    steps.add(() -> files.empty(file(event, "trigger")));
                }
            }
        }
        synthetics.forEach(synthetic -> steps.add(() -> files.write(SYNTHETIC, "!" + synthetic)));
        if (isThere()) {
            steps.add(() -> files.remove(instance()));
        }
        probes.forEach(probe -> steps.add(() -> files.write(PROBES, "-:" + ProbePlan.GROUP + "/" + probe)));
        String refused = "";
        for (Operation step : steps) {
            try {
                step.run();
            } catch (IOException e) {
                refused = refused.isEmpty() ? refusal(e) : refused;
            }
        }
        return refused;
    }
}

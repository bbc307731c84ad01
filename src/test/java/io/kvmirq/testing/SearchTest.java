/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.opentest4j.TestAbortedException;

/** A search finds planted failures, and makes them small. */
class SearchTest {
    private static final int STEPS = 100;
    private static final int DOORS = 8;

    /** Doors that are opened and closed; it fails if one opens while another one, of a lower number, is open. */
    private static void doors(Choices choices, boolean mayOpenBoth) {
        int first = choices.nextInt(DOORS);
        choices.note("begin at " + first);
        boolean[] open = new boolean[DOORS];
        while (choices.step(STEPS)) {
            int door = choices.nextInt(DOORS);
            open[door] = choices.nextBoolean();
            choices.note((open[door] ? "open " : "close ") + door);
            for (int lower = 0; lower < door; lower++) {
                assertThat(open[lower] && open[door] && !mayOpenBoth).isFalse();
            }
        }
        if (choices.nextInt(DOORS) == DOORS) {
            throw new IllegalStateException("never");
        }
    }

    @BeforeEach
    void assumeAllRun() {
        Search.assumeAllRun();
    }

    private static void search(Search.Program program) {
        Search.run("doors", 0, 50, program);
    }

    @Test
    void foundProgramIsLeftWithTheStepsItNeeds() {
        assertThatThrownBy(() -> search(choices -> doors(choices, false)))
                .isInstanceOf(AssertionError.class)
                .hasMessageContaining("doors, seed 0, 2 of ")
                .hasMessageContaining("steps: begin at 0, open 0, open ")
                .hasMessageEndingWith("\nto run all its steps: make try T=SearchTest SEED=0");
        search(choices -> doors(choices, true));
    }

    @Test
    void numbersAreHalvedWhereZeroPasses() {
        assertThat(messageOf(choices -> {
                    long count = choices.keep(1000);
                    choices.note("count " + count);
                    assertThat(count).isLessThan(5);
                }))
                .contains("steps: count 7\n");
    }

    /** A main class, which make try does not know. */
    private static final class DoorsReport {
        static String message() {
            return messageOf(choices -> doors(choices, false));
        }
    }

    @Test
    void searchOfAMainClassIsRunAgainByItsName() throws Exception {
        assertThat(CompletableFuture.supplyAsync(DoorsReport::message).get())
                .endsWith("\nto run all its steps: scripts/search testing.SearchTest$DoorsReport 1 0");
    }

    @Test
    void printedLineRunsItAgain() throws Exception {
        Matcher line =
                Pattern.compile("Search\\.again\\(\"(.*)\", …\\)").matcher(messageOf(choices -> doors(choices, false)));
        assertThat(line.find()).isTrue();
        assertThatThrownBy(() -> Search.again(line.group(1), choices -> doors(choices, false)))
                .isInstanceOf(AssertionError.class);
        Search.again(line.group(1), choices -> doors(choices, true));
    }

    @Test
    void searchGoesOnAsLongAsItsFindingsAreTaken() {
        List<String> found = new ArrayList<>();
        Search.run("doors", 7, 50, choices -> doors(choices, false), failure -> {
            found.add(failure.getMessage().split(", [0-9]")[0]);
            return found.size() < 3;
        });
        assertThat(found).containsExactly("doors, seed 7", "doors, seed 8", "doors, seed 9");
    }

    @Test
    void seedThatPassesAloneAbortsTheTest() {
        System.setProperty("kvmirq.test.seed", "3");
        try {
            assertThatThrownBy(() -> search(choices -> doors(choices, true)))
                    .isInstanceOf(TestAbortedException.class)
                    .hasMessage("doors: the program of SEED=3 passes");
            assertThatThrownBy(() -> search(choices -> doors(choices, false)))
                    .hasMessageStartingWith("doors, seed 3, ");
            List<String> found = new ArrayList<>();
            Search.run("doors", 0, 50, choices -> doors(choices, false), failure -> found.add(failure.getMessage()));
            assertThat(found).as("taken, and not said to pass").hasSize(1);
        } finally {
            System.clearProperty("kvmirq.test.seed");
        }
    }

    private static String messageOf(Search.Program program) {
        try {
            search(program);
        } catch (AssertionError e) {
            return e.getMessage();
        }
        throw new IllegalStateException("nothing was found");
    }

    /** Steps that fail elsewhere are not the failure that was found. */
    @Test
    void otherFailureDoesNotReplaceTheFoundOne() {
        assertThat(messageOf(choices -> {
                    int steps = 0;
                    while (choices.step(STEPS)) {
                        steps += choices.nextInt(2);
                    }
                    if (steps < 3) {
                        throw new IllegalStateException("too few");
                    }
                    assertThat(steps).isLessThan(3);
                }))
                .startsWith("doors, seed 0, 3 of 100 steps: ");
    }

    /** As a search names its kind of failure: a cause without a stack. */
    @Test
    void failureOfAnotherKindDoesNotReplaceTheFoundOne() {
        assertThat(messageOf(choices -> {
                    int steps = 0;
                    while (choices.step(STEPS)) {
                        steps += choices.nextInt(2);
                    }
                    Throwable kind = new IllegalStateException(steps < 3 ? "too few" : "enough");
                    kind.setStackTrace(new StackTraceElement[0]);
                    throw new AssertionError(kind.getMessage(), kind);
                }))
                .startsWith("doors, seed 0, 3 of 100 steps: enough");
    }

    @Test
    void failureThatDoesNotRepeatIsReportedWhole() {
        int[] runs = {0};
        assertThat(messageOf(choices -> {
                    while (choices.step(STEPS)) {
                        choices.nextInt();
                    }
                    assertThat(runs[0]++).isNotZero();
                }))
                .startsWith("doors, seed 0, 100 of 100 steps (it took too long, or does not fail a second time): ");
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.math.BigInteger;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.BiPredicate;
import java.util.function.Consumer;
import java.util.function.IntUnaryOperator;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;

/** The explorer against what is known of small programs (Owens, Sarkar, Sewell: A better x86 memory model, x86-TSO). */
class ExplorerTest {
    private static final int X = 0;
    private static final int Y = 1;
    private static final int SEEN_X = 2;
    private static final int SEEN_Y = 3;

    /** Loses where {@code bad} holds of memory at the end. */
    private static Exploration explore(Memory memory, Predicate<long[]> bad, Actor... actors) {
        return new Explorer(List.of(actors), memory, model(bad)).explore(new long[4]);
    }

    private static boolean loses(Memory memory, Predicate<long[]> bad, Actor... actors) {
        return explore(memory, bad, actors).loses();
    }

    private static Explorer.Model model(Predicate<long[]> bad) {
        return new Explorer.Model() {
            @Override
            public Optional<String> lost(long[] words) {
                return bad.test(words) ? Optional.of("bad: " + Arrays.toString(words)) : Optional.empty();
            }

            @Override
            public String describe(Explorer.Access access) {
                return access.kind() + " " + access.word() + " " + access.after();
            }
        };
    }

    private static Actor actor(String name, Consumer<Cpu> code) {
        return Actor.of(name, Operation.of(name, code));
    }

    private static void store(Cpu cpu, int word, long value) {
        cpu.store(word, value, -1);
    }

    private static boolean bothSawNothing(long[] words) {
        return words[SEEN_X] == -1 && words[SEEN_Y] == -1;
    }

    private static Actor[] eachWritesOneAndReadsTheOther(Consumer<Cpu> between) {
        return new Actor[] {
            actor("a", cpu -> {
                store(cpu, X, 1);
                between.accept(cpu);
                store(cpu, SEEN_Y, cpu.load(Y) == 0 ? -1 : 1);
            }),
            actor("b", cpu -> {
                store(cpu, Y, 1);
                between.accept(cpu);
                store(cpu, SEEN_X, cpu.load(X) == 0 ? -1 : 1);
            })
        };
    }

    @Test
    void storeBuffersHideBothStores() {
        Actor[] actors = eachWritesOneAndReadsTheOther(cpu -> {});
        assertThat(loses(Memory.SEQUENTIAL, ExplorerTest::bothSawNothing, actors))
                .isFalse();
        assertThat(loses(Memory.STORE_BUFFERS, ExplorerTest::bothSawNothing, actors))
                .isTrue();
    }

    @Test
    void barrierBetweenStoreAndLoadShowsOne() {
        Actor[] fenced = eachWritesOneAndReadsTheOther(Cpu::fence);
        assertThat(loses(Memory.STORE_BUFFERS, ExplorerTest::bothSawNothing, fenced))
                .isFalse();
        Actor[] locked = eachWritesOneAndReadsTheOther(cpu -> cpu.update(SEEN_X, old -> old));
        assertThat(loses(Memory.STORE_BUFFERS, ExplorerTest::bothSawNothing, locked))
                .isFalse();
    }

    @Test
    void storesAreSeenInOrder() {
        Actor writer = actor("writer", cpu -> {
            store(cpu, X, 1);
            store(cpu, Y, 1);
        });
        Actor reader = actor("reader", cpu -> {
            long y = cpu.load(Y);
            store(cpu, SEEN_X, y == 1 && cpu.load(X) == 0 ? -1 : 1);
        });
        assertThat(loses(Memory.STORE_BUFFERS, words -> words[SEEN_X] == -1, writer, reader))
                .isFalse();
    }

    @Test
    void actorSeesItsOwnBufferedBitsOverOthers() {
        Actor writer = actor("writer", cpu -> {
            cpu.store(X, 0x11, 0xff);
            store(cpu, SEEN_X, cpu.load(X));
        });
        Actor other = actor("other", cpu -> cpu.update(X, old -> old | 0x2200));
        Exploration found = explore(Memory.STORE_BUFFERS, words -> false, writer, other);
        assertThat(found.ends())
                .containsExactlyInAnyOrder(List.of(0x2211L, 0L, 0x11L, 0L), List.of(0x2211L, 0L, 0x2211L, 0L));
    }

    @Test
    void incrementByLoadAndStoreIsLost() {
        Consumer<Cpu> increment = cpu -> store(cpu, X, cpu.load(X) + 1);
        Exploration found =
                explore(Memory.SEQUENTIAL, words -> words[X] != 2, actor("a", increment), actor("b", increment));
        assertThat(found.orders()).isEqualTo(BigInteger.valueOf(6));
        assertThat(found.losing()).isEqualTo(BigInteger.valueOf(4));
        assertThat(found.why()).isEqualTo("bad: [1, 0, 0, 0]");
        assertThat(found.order()).hasSize(4);
        assertThat(found.order().get(3).what()).isEqualTo("STORE 0 1");
    }

    @Test
    void incrementUnderALockIsNot() {
        Consumer<Cpu> increment = cpu -> {
            cpu.lock(Y);
            store(cpu, X, cpu.load(X) + 1);
            store(cpu, Y, 0);
        };
        for (Memory memory : Memory.values()) {
            assertThat(loses(memory, words -> words[X] != 2, actor("a", increment), actor("b", increment)))
                    .isFalse();
        }
    }

    @Test
    void lockTakenAndNotGivenBackIsFound() {
        Consumer<Cpu> taking = cpu -> {
            cpu.load(Y);
            cpu.lock(X);
        };
        Exploration found = explore(Memory.SEQUENTIAL, words -> false, actor("a", taking), actor("b", taking));
        assertThat(found.losing()).isEqualTo(found.orders());
        assertThat(found.why()).contains("waits forever for a lock");
    }

    @Test
    void lockNeverGivenBackIsFoundAlsoAtTheFirstAccess() {
        Consumer<Cpu> taking = cpu -> cpu.lock(X);
        for (Memory memory : Memory.values()) {
            Exploration found = explore(memory, words -> false, actor("a", taking), actor("b", taking));
            assertThat(found.losing()).isEqualTo(found.orders());
        }
    }

    @Test
    void actorBeginsByWhatItSeesItself() {
        Actor writer = Actor.of(
                "writer",
                Operation.of("write", cpu -> store(cpu, X, 1)),
                Operation.of("go on", cpu -> store(cpu, SEEN_X, 1)).when(words -> words[X] == 1));
        Actor other = actor("other", cpu -> store(cpu, SEEN_Y, cpu.load(SEEN_X) == 1 && cpu.load(X) == 0 ? -1 : 1));
        Exploration found = explore(Memory.STORE_BUFFERS, words -> words[SEEN_Y] == -1, writer, other);
        assertThat(found.loses()).as("stores stay in order").isFalse();
        assertThat(found.ends()).allMatch(words -> words.get(SEEN_X) == 1);
    }

    @Test
    void everyChoiceIsTried() {
        Exploration found = explore(Memory.SEQUENTIAL, words -> false, actor("a", cpu -> store(cpu, X, cpu.choose(3))));
        assertThat(found.ends()).extracting(words -> words.get(X)).containsExactlyInAnyOrder(0L, 1L, 2L);
    }

    @Test
    void answeringActorActsWheneverItCan() {
        Actor asking = Actor.of(
                "asking", Operation.of("one", cpu -> store(cpu, X, 1)), Operation.of("two", cpu -> store(cpu, X, 1)));
        Actor answering = Actor.answering(
                "answering",
                Operation.of("answer", cpu -> {
                            cpu.update(X, old -> 0);
                            cpu.update(Y, old -> old + 1);
                        })
                        .when(words -> words[X] != 0));
        Exploration found = explore(Memory.SEQUENTIAL, words -> false, asking, answering);
        assertThat(found.ends()).extracting(words -> words.get(Y)).containsExactlyInAnyOrder(1L, 2L);
    }

    @Test
    void atomicOperationIsOneStep() {
        Actor device = Actor.of("device", Operation.atomic("both", cpu -> {
            store(cpu, X, 1);
            store(cpu, Y, 1);
        }));
        Actor reader = actor("reader", cpu -> store(cpu, SEEN_X, cpu.load(X) - cpu.load(Y)));
        assertThat(loses(Memory.STORE_BUFFERS, words -> words[SEEN_X] > 0, device, reader))
                .isFalse();
    }

    @Test
    void brokenInvariantIsFoundWhereNobodyIsWithinAnOperation() {
        Explorer.Model model = new Explorer.Model() {
            @Override
            public Optional<String> broken(long[] words) {
                return words[X] == 1 ? Optional.of("one") : Optional.empty();
            }

            @Override
            public Optional<String> lost(long[] words) {
                return Optional.empty();
            }
        };
        Operation within = Operation.of("within", cpu -> {
            store(cpu, X, 1);
            store(cpu, X, 2);
        });
        Operation after = Operation.of("after", cpu -> store(cpu, X, 1));
        assertThat(new Explorer(List.of(Actor.of("a", within)), Memory.STORE_BUFFERS, model)
                        .explore(new long[1])
                        .loses())
                .isFalse();
        assertThat(new Explorer(List.of(Actor.of("a", within, after)), Memory.STORE_BUFFERS, model)
                        .explore(new long[1])
                        .why())
                .isEqualTo("one");
    }

    @Test
    void worstEndIsFoundWithoutCounting() {
        Consumer<Cpu> increment = cpu -> store(cpu, X, cpu.load(X) + 1);
        List<Actor> actors = List.of(actor("a", increment), actor("b", increment));
        assertThat(new Explorer(actors, Memory.SEQUENTIAL, model(words -> words[X] == 0)).worst(new long[4]))
                .isEqualTo(Explorer.Ending.KEEPS);
        assertThat(new Explorer(actors, Memory.SEQUENTIAL, model(words -> words[X] != 2)).worst(new long[4]))
                .isEqualTo(Explorer.Ending.LOSES);
        for (boolean alsoLost : new boolean[] {false, true}) {
            Explorer.Model healing = said((actor, word) -> false, word -> -1, memory -> memory[X] == 1, alsoLost);
            assertThat(new Explorer(actors, Memory.SEQUENTIAL, healing).worst(new long[4]))
                    .isEqualTo(alsoLost ? Explorer.Ending.LOSES : Explorer.Ending.HEALS);
        }
    }

    @Test
    void choiceBeforeALockIsTriedInFull() {
        Consumer<Cpu> choosing = cpu -> {
            int chosen = cpu.choose(3);
            cpu.lock(Y);
            store(cpu, X, 10 * cpu.load(X) + chosen + 1);
            store(cpu, Y, 0);
        };
        Exploration found = explore(Memory.STORE_BUFFERS, words -> false, actor("a", choosing), actor("b", choosing));
        assertThat(found.ends())
                .extracting(words -> words.get(X))
                .containsExactlyInAnyOrder(11L, 12L, 13L, 21L, 22L, 23L, 31L, 32L, 33L);
    }

    @Test
    void whatIsSaidOfLocksAndPrivateWordsIsChecked() {
        Explorer.Model locked = said((actor, word) -> false, word -> word == X ? Y : -1, memory -> false, false);
        Explorer.Model own = said((actor, word) -> actor == 0 && word == X, word -> -1, memory -> false, false);
        Actor reader = actor("reader", cpu -> cpu.load(X));
        assertThatThrownBy(() -> new Explorer(List.of(reader), Memory.SEQUENTIAL, locked).explore(new long[4]))
                .hasMessage("word 0 is said to be under a lock that is free");
        assertThat(new Explorer(List.of(reader), Memory.SEQUENTIAL, own)
                        .explore(new long[4])
                        .states())
                .isPositive();
        assertThatThrownBy(() -> new Explorer(List.of(reader, reader), Memory.SEQUENTIAL, own).explore(new long[4]))
                .hasMessage("word 0 is said to be private to one actor and another reads it");
    }

    private static Explorer.Model said(
            BiPredicate<Integer, Integer> isPrivate, IntUnaryOperator lockOf, Predicate<long[]> lost, boolean forEver) {
        return new Explorer.Model() {
            @Override
            public Optional<String> lost(long[] memory) {
                return lost.test(memory) ? Optional.of("lost") : Optional.empty();
            }

            @Override
            public boolean heals(long[] memory) {
                return !forEver;
            }

            @Override
            public boolean isPrivate(int actor, int word) {
                return isPrivate.test(actor, word);
            }

            @Override
            public int lockOf(int word) {
                return lockOf.applyAsInt(word);
            }
        };
    }

    @Test
    void writtenConstantIsRefused() {
        Explorer.Model model = new Explorer.Model() {
            @Override
            public Optional<String> lost(long[] words) {
                return Optional.empty();
            }

            @Override
            public boolean isConstant(int word) {
                return true;
            }
        };
        Explorer explorer = new Explorer(List.of(actor("a", cpu -> store(cpu, X, 1))), Memory.SEQUENTIAL, model);
        assertThatThrownBy(() -> explorer.explore(new long[1])).hasMessageContaining("word 0 is said to be constant");
    }
}

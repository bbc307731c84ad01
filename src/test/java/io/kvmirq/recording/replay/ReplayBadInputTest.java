/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.kvmirq.backend.Libc;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.fake.Faults;
import io.kvmirq.recording.Recordings;
import io.kvmirq.recording.tapes.TapeException;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A file that is no tape, not a whole one, or edited: one sentence with line and field, and no call is made. */
class ReplayBadInputTest {
    private static final String HEADER = "{'header':{'pid':1,'program':'p','arch':'x86_64','order':'little',"
            + "'kernel':'6.18','backend':'fake'}}\n";
    private static final String OPEN = call(1, "'call':'open','path':'/dev/kvm','made':'kvm#1','result':0");

    /** The beginning of a tape of a VM. */
    private static final String VM = HEADER + OPEN + ioctl(2, "kvm#1", Uapi.KVM_CREATE_VM, ",'made':'vm#1'");

    @TempDir
    private Path temporary;

    /** Counts what is asked of it. */
    private final Faults watch = new Faults();

    private static String call(int number, String rest) {
        return "{'seq':" + number + ",'pid':1,'tid':1," + rest + "}\n";
    }

    private Replay.Outcome replay(Path file) throws IOException {
        watch.listen();
        return new Replay(watch.over(new FakeKernel(Profile.V6_18).backend().libc())).run(file);
    }

    private Replay.Outcome replay(String tape) throws IOException {
        return replay(tape(tape));
    }

    private Path tape(String tape) throws IOException {
        return Files.writeString(temporary.resolve("tape"), tape.replace('\'', '"'));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{'seq':2}                    | tape line 3: not a tape: expected a line with field header, call or"
                        + " end",
                "{'seq':2,'pid':1    | tape line 3: the tape ends within the line, in field pid",
                "{'seq':3,'call':'close'} | tape line 3: field seq is 3: expected 2",
                "{'seq':'2','call':'close'} | tape line 3: field seq is missing or no number",
                "{'seq':2,'call':'fork','pid':1,'tid':1} | tape line 3: field call is fork: unknown here",
                "{'seq':2,'call':'close','pid':1,'tid':1,'on':'vm','result':0} | tape line 3: field on is vm: names no"
                        + " file",
                "{'seq':2,'call':'close','pid':1,'tid':1,'on':'vm#1'} | tape line 3: field result is missing or no"
                        + " number",
                "{'seq':2,'call':'close','pid':1,'tid':1,'on':'vm#1','result':0,'errno':'EWHAT'} | tape line 3: field"
                        + " errno is EWHAT: unknown here",
                "{'seq':2,'call':'eventfd','pid':1,'tid':1,'made':7,'result':0} | tape line 3: field made is missing"
                        + " or no text",
                "{'seq':2,'call':'eventfd','pid':1,'tid':1,'names':{'x':'vm#1'},'result':0} | tape line 3: field"
                        + " names.x names no file",
                "{'seq':2,'call':'eventfd','pid':1,'tid':1,'in':'0','result':0} | tape line 3: field in is not hex",
                "{'seq':2,'call':'ioctl','pid':1,'tid':1,'on':'vm#1','request':1075883638,'in':'00','result':0} | tape"
                        + " line 3: field in has 1 bytes: request 0x4020ae76 takes 32",
                "{'seq':2,'call':'close','pid':1,'tid':1,'on':'xx#1','result':0} | tape line 3: field on is xx#1:"
                        + " names no file",
                "{'seq':2,'call':'close','pid':1,'tid':1,'on':'kvm#1','made':'kvm#2','result':0} | tape line 3: field"
                        + " made is kvm#2: this close makes none",
                "{'seq':2,'call':'ioctl','pid':1,'tid':1,'on':'kvm#1','request':44544,'value':0,'made':'eventfd#1','result':0}"
                        + " | tape line 3: field made is eventfd#1: this ioctl makes none",
                "{'seq':2,'call':'fcntl','pid':1,'tid':1,'on':'kvm#1','request':9,'value':0,'result':0} | tape line 3:"
                        + " field request is 9: of fcntl, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFL and F_SETFL are replayed",
                "{'seq':2,'call':'fcntl','pid':1,'tid':1,'on':'kvm#1','request':1030,'value':0,'made':'eventfd#1','result':0}"
                        + " | tape line 3: field made is eventfd#1: this fcntl makes none",
                "{'seq':2,'call':'write','pid':1,'tid':1,'on':'kvm#1','value':8,'in':'000000000000000000','result':8}"
                        + " | tape line 3: field in has 9 bytes: write has 8",
                "{'seq':2,'call':'write','pid':1,'tid':1,'on':'kvm#1','value':4096,'in':'0000000000000000','result':8}"
                        + " | tape line 3: field in has 8 bytes: write has 4096",
                "{'seq':2,'call':'close','pid':1,'tid':1,'on':'kvm#1','begins':true} | tape line 3: field begins: of"
                        + " close, only KVM_RUN is replayed so",
                "{'end':true}{'end':true} | tape line 4: a line after the tape's end",
                "{'header':{'pid':1,'program':'p','arch':'aarch64','order':'little','kernel':'6'}} | tape line 3:"
                        + " field header.arch is aarch64: tapes are replayed on their architecture, this is x86_64",
                "{'header':{'pid':1,'program':'p','arch':'s390x','order':'big','kernel':'6'}} | tape line 3: field"
                        + " header.order is big: this machine is little",
            })
    void flawedLineIsNamedAndNoCallIsMade(String line, String sentence) {
        assertThatExceptionOfType(TapeException.class)
                .isThrownBy(() -> replay(HEADER + OPEN + line))
                .withMessageStartingWith(sentence);
        assertThat(watch.calls()).isEmpty();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "'call':'mmap','value':999999999999,'made':'memory#1','result':0 | a replay cannot have mappings of"
                        + " more than 256 MiB",
                "'call':'mmap','value':-1,'made':'memory#1','result':0 | a replay cannot have mappings of more than 256"
                        + " MiB",
            })
    void callThatCannotBeMadeAgainIsNamedWithTheNumberBeforeIt(String rest, String reason) throws IOException {
        assertThat(replay(HEADER + OPEN + call(2, rest))).isInstanceOfSatisfying(Replay.Stopped.class, stopped -> {
            assertThat(stopped.calls()).isEqualTo(1);
            assertThat(stopped.reason()).startsWith(reason);
        });
    }

    /** The tape goes on: only what needs them is passed over. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "'call':'close','on':'vm#9','result':0",
                "'call':'munmap','on':'memory#1','value':4096,'result':0",
                "'call':'open','path':'/etc/passwd','made':'kvm#2','result':0",
                "'call':'write','on':'kvm#1','value':8,'in':'0100000000000000','result':8",
                "'call':'mmap','value':4096,'request':0,'flags':34,'made':'memory#1','result':0",
                "'call':'pread','on':'kvm#1','value':8,'result':8",
                "'call':'ioctl','on':'vm#1','request':1078242918,'in':'00','cut':true,'result':0"
            })
    void callWhoseFileOrDataTheTapeLacksIsPassedOver(String rest) throws IOException {
        Replay replay =
                new Replay(watch.over(new FakeKernel(Profile.V6_18).backend().libc()));
        assertThat(replay.run(tape(VM + call(3, rest)))).isEqualTo(new Replay.Same(2));
        assertThat(replay.passedOver()).isEqualTo(1);
    }

    @ParameterizedTest
    @ValueSource(strings = {"/etc/passwd", "/dev/vfio/../../etc/passwd", "/dev/vfio/../kvm"})
    void otherFilesOfThisMachineAreNotOpened(String path) throws IOException {
        Libc fake = new FakeKernel(Profile.V6_18).backend().libc();
        Libc real = (Libc) Proxy.newProxyInstance(
                Libc.class.getClassLoader(),
                new Class<?>[] {Libc.class},
                (proxy, method, arguments) ->
                        method.getName().equals("isReal") ? true : method.invoke(fake, arguments));
        watch.listen();
        Replay replay = new Replay(watch.over(real));
        replay.run(tape(HEADER + call(1, "'call':'open','path':'" + path + "','made':'group#2','result':0")));
        assertThat(replay.passedOver()).isEqualTo(1);
        assertThat(watch.calls()).isEmpty();
    }

    @Test
    void truncatedWithinALineIsRefusedWhole() throws IOException {
        Path whole =
                Recordings.ofSelftest(temporary.resolve("whole"), Recordings.fake(Profile.V6_18), Scenario.GUESTLESS);
        byte[] bytes = Files.readAllBytes(whole);
        SplittableRandom random = new SplittableRandom(5);
        for (int i = 0; i < 200; i++) {
            int length = random.nextInt(1, bytes.length - 1);
            boolean atLine = bytes[length - 1] == '\n' || bytes[length] == '\n';
            Path cut = Files.write(temporary.resolve("cut"), Arrays.copyOf(bytes, length));
            if (!atLine) {
                assertThat(catchThrowableOfType(TapeException.class, () -> replay(cut)))
                        .as("cut at " + length)
                        .hasMessageMatching("tape line \\d+: (the tape ends within the line|not a tape: not JSON).*");
                assertThat(watch.calls()).isEmpty();
            }
        }
    }

    private static String ioctl(int number, String on, long request, String rest) {
        return call(number, "'call':'ioctl','on':'" + on + "','request':" + request + ",'result':0" + rest);
    }

    private static String hex(int bytes, ByteBuffer of) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < bytes; i++) {
            text.append(String.format("%02x", of.get(i) & 0xff));
        }
        return text.toString();
    }

    @ParameterizedTest
    @CsvSource({
        "0x0,8192",
        "0x1000,4096",
        "0xffff000,4096",
        "0x7ffffffffffff00,8192",
        "0xffffffffffff000,4096",
        "0x0,-4096"
    })
    void memoryBeyondItsMappingIsRefused(String offset, long size) throws IOException {
        for (int bytes : new int[] {Uapi.KvmUserspaceMemoryRegion.SIZE, Uapi.KvmUserspaceMemoryRegion2.SIZE}) {
            boolean second = bytes == Uapi.KvmUserspaceMemoryRegion2.SIZE;
            ByteBuffer region = ByteBuffer.allocate(bytes).order(ByteOrder.nativeOrder());
            region.putLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE, size);
            Replay.Outcome outcome = replay(VM
                    + call(3, "'call':'mmap','value':4096,'request':3,'flags':34,'made':'memory#1','result':0")
                    + ioctl(
                            4,
                            "vm#1",
                            second ? Uapi.KVM_SET_USER_MEMORY_REGION2 : Uapi.KVM_SET_USER_MEMORY_REGION,
                            ",'in':'" + hex(bytes, region) + "','names':{'"
                                    + Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR + "':'memory#1+" + offset + "'}"));
            assertThat(outcome).isInstanceOfSatisfying(Replay.Stopped.class, stopped -> assertThat(stopped.reason())
                    .isEqualTo("a replay cannot have memory beyond the end of memory#1"));
        }
    }

    private static String enableCap(int capability) {
        ByteBuffer bytes = ByteBuffer.allocate(Uapi.KvmEnableCap.SIZE).order(ByteOrder.nativeOrder());
        bytes.putInt(Uapi.KvmEnableCap.CAP, capability);
        return ",'in':'" + hex(bytes.capacity(), bytes) + "'";
    }

    @Test
    void whatHasNothingToDoWithInterruptsIsPassedOver() throws IOException {
        Path file = tape(VM
                + ioctl(3, "vm#1", Uapi.KVM_ENABLE_CAP, enableCap(143))
                + ioctl(4, "vm#1", Uapi.KVM_SET_PIT, ",'in':'" + "00".repeat(72) + "'")
                + ioctl(5, "vm#1", Uapi.KVM_ENABLE_CAP, enableCap(188))
                + ioctl(6, "vm#1", Uapi.KVM_X86_SET_MSR_FILTER, ",'in':'" + "00".repeat(392) + "'")
                + ioctl(7, "vm#1", 0x4010ae42L, ",'in':'" + "00".repeat(16) + "'"));
        Replay replay =
                new Replay(watch.over(new FakeKernel(Profile.V6_18).backend().libc()));
        assertThat(replay.run(file)).isEqualTo(new Replay.Same(2));
        assertThat(replay.remarks())
                .first()
                .asString()
                .startsWith("passed over: KVM_ENABLE_CAP 2, ")
                .contains("KVM_SET_PIT 1", "KVM_GET_DIRTY_LOG 1", "KVM_X86_SET_MSR_FILTER 1");
    }

    /** As libkvmirqtape.so records them: a list's length asked for, and elements that are not on the tape. */
    @Test
    void listsAreAskedTheirLengthAndElementsMayLack() throws IOException {
        Path file = tape(HEADER
                + OPEN
                + call(
                        2,
                        "'call':'ioctl','on':'kvm#1','request':3221532170,'in':'00000000','result':-1,"
                                + "'errno':'E2BIG'")
                + ioctl(3, "kvm#1", 0xc008ae88L, ",'in':'0100000000000000'")
                + call(
                        4,
                        "'call':'ioctl','on':'kvm#1','request':3221794309,'in':'0100000000000000',"
                                + "'result':-1,'errno':'E2BIG'"));
        Replay replay =
                new Replay(watch.over(new FakeKernel(Profile.V6_18).backend().libc()));
        assertThat(replay.run(file)).isEqualTo(new Replay.Same(2));
        assertThat(replay.remarks()).first().isEqualTo("passed over: KVM_GET_MSRS 1, KVM_GET_SUPPORTED_CPUID 1");
    }

    @Test
    void mappingOfAVcpuThatLacksItsProtectionIsMade() throws IOException {
        assertThat(replay(VM
                        + ioctl(3, "vm#1", Uapi.KVM_CREATE_VCPU, ",'value':0,'made':'vcpu#1'")
                        + call(4, "'call':'mmap','on':'vcpu#1','value':12288,'flags':1,'result':0")))
                .isEqualTo(new Replay.Same(4));
    }

    @Test
    void capabilityOfInterruptsIsNotPassedOver() throws IOException {
        assertThat(replay(VM + ioctl(3, "vm#1", Uapi.KVM_ENABLE_CAP, enableCap(Uapi.KVM_CAP_IRQFD))))
                .isNotInstanceOf(Replay.Same.class);
    }

    @Test
    void tapeWithoutHeaderIsRefused() {
        assertThatExceptionOfType(TapeException.class)
                .isThrownBy(() -> replay(OPEN))
                .withMessage("tape line 1: field header is missing: a tape begins with it");
        assertThat(watch.calls()).isEmpty();
    }

    @Test
    void secondBeginningBeforeTheEndIsRefused() {
        String run = ",'begins':true";
        assertThatExceptionOfType(TapeException.class)
                .isThrownBy(() ->
                        replay(HEADER + ioctl(1, "vcpu#1", Uapi.KVM_RUN, run) + ioctl(2, "vcpu#1", Uapi.KVM_RUN, run)))
                .withMessage("tape line 3: field begins: vcpu#1 runs already");
    }

    @Test
    void moreDescriptorsThanAProcessHasAreRefusedByLine() {
        StringBuilder tape = new StringBuilder(HEADER);
        for (int i = 1; i <= TapeReader.MOST_OPEN + 1; i++) {
            tape.append(call(i, "'call':'eventfd','value':0,'made':'eventfd#" + i + "','result':0"));
        }
        assertThatExceptionOfType(TapeException.class)
                .isThrownBy(() -> replay(tape.toString()))
                .withMessage("tape line 65538: field made is eventfd#65537: more than 65536 descriptors are open");
        assertThat(watch.calls()).isEmpty();
    }

    @Test
    void mappingsAreCountedAndInWholePages() throws IOException {
        StringBuilder tape = new StringBuilder(HEADER);
        for (int i = 1; i <= 4097; i++) {
            tape.append(call(i, "'call':'mmap','value':1,'request':3,'flags':34,'made':'memory#" + i + "','result':0"));
        }
        assertThat(replay(tape.toString()))
                .isInstanceOfSatisfying(Replay.Stopped.class, stopped -> assertThat(stopped.reason())
                        .isEqualTo("a replay cannot have more than 4096 mappings"));
        assertThat(replay(HEADER
                        + call(1, "'call':'mmap','value':268435456,'request':3,'flags':34,'made':'memory#1','result':0")
                        + call(2, "'call':'mmap','value':1,'request':3,'flags':34,'made':'memory#2','result':0")))
                .isInstanceOfSatisfying(Replay.Stopped.class, stopped -> assertThat(stopped.reason())
                        .isEqualTo("a replay cannot have mappings of more than 256 MiB"));
    }

    @Test
    void escapesOfATapeAreNotShown() throws IOException {
        Replay.Outcome outcome = replay(
                HEADER + OPEN + call(2, "'call':'open','path':'/dev/vfio/\\u001b[31m','made':'group#2','result':0"));
        assertThat(outcome.toString()).contains("?[31m").doesNotContain("\u001b");
        assertThat(new Replay.Diverged(0, 1, "\u001b", "\u001b", "\u001b", List.of("\u001b")).toString())
                .doesNotContain("\u001b");
    }

    @Test
    void whatIsNoRegularFileIsRefused() {
        assertThatExceptionOfType(FileSystemException.class)
                .isThrownBy(() -> replay(temporary))
                .withMessageEndingWith("not a regular file: a replay reads it twice");
    }

    /** The tape loses its last call as soon as the first is made. */
    @Test
    void fileThatChangesIsNoSuccess() throws IOException {
        StringBuilder calls = new StringBuilder(HEADER + OPEN);
        // More than a replay reads ahead.
        for (int i = 2; i < 6000; i++) {
            calls.append(call(i, "'call':'eventfd','flags':2,'result':-1,'errno':'EINVAL'"));
        }
        Path file = tape(calls.toString());
        Libc fake = new FakeKernel(Profile.V6_18).backend().libc();
        Libc cutting = (Libc) Proxy.newProxyInstance(
                Libc.class.getClassLoader(), new Class<?>[] {Libc.class}, (proxy, method, arguments) -> {
                    if (method.getName().equals("open")) {
                        Files.writeString(file, (HEADER + OPEN).replace('\'', '"'));
                    }
                    return method.invoke(fake, arguments);
                });
        assertThat(new Replay(cutting).run(file))
                .isInstanceOfSatisfying(Replay.Stopped.class, stopped -> assertThat(stopped.reason())
                        .startsWith("the file changed while it was replayed"));
    }

    @Test
    void tapeThatDoesNotEndIsSaidTo() throws IOException {
        Path file = temporary.resolve("tape");
        String tape = (HEADER + OPEN).replace('\'', '"');
        Replay cut = new Replay(new FakeKernel(Profile.V6_18).backend().libc());
        assertThat(cut.run(Files.writeString(file, tape))).isInstanceOf(Replay.Same.class);
        assertThat(cut.remarks())
                .containsExactly("the tape has no end: its recorder was killed or not closed, or the tape was"
                        + " cut; calls after its last line may be missing");
        assertThat(cut.isWhole()).isFalse();
        Replay whole = new Replay(new FakeKernel(Profile.V6_18).backend().libc());
        assertThat(whole.run(Files.writeString(file, tape + "{\"end\":true,\"calls\":1}\n")))
                .isInstanceOf(Replay.Same.class);
        assertThat(whole.remarks()).isEmpty();
    }

    @Tag("long")
    @Test
    void editedTapesEndInAnOutcomeOrASentence() throws IOException {
        Path whole =
                Recordings.ofSelftest(temporary.resolve("whole"), Recordings.fake(Profile.V6_18), Scenario.GUESTLESS);
        byte[] bytes = Files.readAllBytes(whole);
        SplittableRandom random = new SplittableRandom(7);
        List<String> outcomes = new ArrayList<>();
        for (int i = 0; i < 2000; i++) {
            byte[] edited = bytes.clone();
            for (int edit = random.nextInt(1, 4); edit > 0; edit--) {
                edited[random.nextInt(edited.length)] = (byte) random.nextInt(' ', '~');
            }
            Path file = Files.write(temporary.resolve("edited"), edited);
            try {
                outcomes.add(replay(file).getClass().getSimpleName());
            } catch (TapeException e) {
                outcomes.add(String.valueOf(e.getMessage()));
            }
        }
        assertThat(outcomes).hasSize(2000).contains("Diverged", "Same").anyMatch(text -> text.startsWith("tape line"));
    }
}

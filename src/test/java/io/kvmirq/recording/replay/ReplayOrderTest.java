/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.Buffers;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.uapi.Uapi;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a tape of another program does not hold: guests, the order of calls that overlap, and bad addresses. */
class ReplayOrderTest {
    private static final String HEADER = "{'header':{'pid':1,'program':'p','arch':'x86_64','order':'little',"
            + "'kernel':'6.18','backend':'preload'}}\n";

    private static final String EVENTFD = "'call':'eventfd','value':0,'flags':2048,'made':'eventfd#1','result':0";
    private static final String WRITE = "'call':'write','on':'eventfd#1','value':8,'in':'0100000000000000','result':8";
    private static final String EMPTY = "'call':'read','on':'eventfd#1','value':8,'result':-1,'errno':'EAGAIN'";
    private static final String RUN = "'call':'ioctl','on':'vcpu#1','request':" + Uapi.KVM_RUN + ",'result':0";

    @TempDir
    private Path temporary;

    private final FakeKernel kernel = new FakeKernel(Profile.V6_18);
    private final Replay replay = new Replay(kernel.backend().libc());
    private final StringBuilder tape = new StringBuilder(HEADER);
    private int calls;

    private void call(int thread, String rest) {
        tape.append("{'seq':").append(++calls).append(",'pid':1,'tid':").append(thread);
        tape.append(',').append(rest).append("}\n");
    }

    private void ioctl(String on, long request, String rest) {
        call(1, "'call':'ioctl','on':'" + on + "','request':" + request + rest);
    }

    private void vm() {
        call(1, "'call':'open','path':'/dev/kvm','made':'kvm#1','result':0");
        ioctl("kvm#1", Uapi.KVM_CREATE_VM, ",'made':'vm#1','result':0");
    }

    private void vcpu() {
        vm();
        ioctl("vm#1", Uapi.KVM_CREATE_VCPU, ",'value':0,'made':'vcpu#1','result':0");
    }

    private static String read(int count) {
        return "'call':'read','on':'eventfd#1','value':8,'out':'0" + count + "00000000000000','result':8";
    }

    private static String hex(ByteBuffer bytes) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < bytes.capacity(); i++) {
            text.append(String.format("%02x", bytes.get(i) & 0xff));
        }
        return text.toString();
    }

    private Replay.Outcome replay() throws IOException {
        return replay.run(
                Files.writeString(temporary.resolve("tape"), tape.toString().replace('\'', '"')));
    }

    /** A child has another name for the eventfd: {@code eventfd#2} may be {@code eventfd#1}. */
    @Test
    void eventfdThatAChildMayHaveWrittenIsUnknown() throws IOException {
        call(1, EVENTFD);
        call(1, EMPTY);
        tape.append("{'seq':")
                .append(++calls)
                .append(",'pid':2,'tid':2,")
                .append(WRITE.replace("#1", "#2"))
                .append("}\n");
        call(1, read(1));
        call(1, EMPTY);
        assertThat(replay()).isEqualTo(new Replay.Same(3));
        assertThat(replay.passedOver()).isOne();
        assertThat(replay.unknown()).isOne();
    }

    /** The writer lost its processor after the write, and wrote the line when it had it again. */
    @Test
    void readWhoseWriteHasALineATimeSliceLaterIsTheSame() throws IOException {
        call(1, EVENTFD);
        call(1, read(1));
        for (int i = 0; i < 2000; i++) {
            call(1, EMPTY);
        }
        call(2, WRITE);
        assertThat(replay()).isEqualTo(new Replay.Same(2003));
    }

    /** A call's line is written when it has returned: the writer was slow to write its own. */
    @Test
    void readWhoseWriteHasALaterLineOfAnotherThreadIsTheSame() throws IOException {
        call(1, EVENTFD);
        call(1, read(1));
        call(2, WRITE);
        call(1, EMPTY);
        assertThat(replay()).isEqualTo(new Replay.Same(4));
        assertThat(replay.unknown()).isZero();
    }

    @Test
    void readBetweenWritesOfAnotherThreadTakesSomeOfThem() throws IOException {
        call(1, EVENTFD);
        call(2, WRITE);
        call(1, read(2));
        call(2, WRITE);
        call(1, EMPTY);
        assertThat(replay()).isEqualTo(new Replay.Same(5));
    }

    @Test
    void readThatCameBeforeAWriteOfAnEarlierLineLeavesItsCount() throws IOException {
        call(1, EVENTFD);
        call(2, WRITE);
        call(1, EMPTY);
        call(1, read(1));
        call(1, EMPTY);
        assertThat(replay()).isEqualTo(new Replay.Same(5));
    }

    /** Thread 2's write was made before its line, but of another eventfd. Thread 3's write only came later. */
    @Test
    void earlyWriteOfAnotherEventfdExplainsNoCount() throws IOException {
        call(1, EVENTFD);
        call(1, EVENTFD.replace("eventfd#1", "eventfd#2"));
        call(1, WRITE);
        call(1, read(1).replace("eventfd#1", "eventfd#2"));
        call(1, EMPTY);
        call(2, WRITE.replace("eventfd#1", "eventfd#2"));
        call(3, WRITE);
        assertThat(replay()).isEqualTo(new Replay.Same(6));
        assertThat(replay.remarks()).first().isEqualTo("unknown: read 1");
    }

    @Test
    void countIsReadAndWrittenByEveryFunction() throws IOException {
        String two = "0100000000000000" + "0200000000000000";
        call(1, EVENTFD);
        call(1, "'call':'eventfd_write','on':'eventfd#1','value':8,'in':'0300000000000000','result':0");
        call(1, "'call':'writev','on':'eventfd#1','value':16,'in':'" + two + "','result':16");
        call(1, "'call':'eventfd_read','on':'eventfd#1','value':8,'out':'0600000000000000','result':0");
        call(1, "'call':'eventfd_read','on':'eventfd#1','value':8,'result':-1,'errno':'EAGAIN'");
        call(1, "'call':'writev','on':'eventfd#1','value':16,'in':'" + two + "','result':8");
        call(1, read(1).replace("'read'", "'readv'"));
        call(1, "'call':'pread','on':'eventfd#1','value':8,'flags':64,'result':-1,'errno':'ESPIPE'");
        call(1, "'call':'pwritev','on':'eventfd#1','value':16,'in':'" + two + "','result':-1,'errno':'ESPIPE'");
        assertThat(replay()).isEqualTo(new Replay.Same(9));
        assertThat(replay.passedOver()).isZero();
    }

    @Test
    void countThatEventfdReadDidNotGetDiverges() throws IOException {
        call(1, EVENTFD);
        call(1, WRITE);
        call(1, "'call':'eventfd_read','on':'eventfd#1','value':8,'out':'0200000000000000','result':0");
        assertThat(replay().toString()).contains("expected 0 (count 2), got 0 (count 1)");
    }

    @Test
    void pollIsComparedByDescriptor() throws IOException {
        String polled = "'call':'poll','value':0,'in':'0000000001000000','names':{'0':'eventfd#1'}";
        call(1, EVENTFD);
        call(1, polled + ",'out':'0000000001000000','result':0");
        call(1, WRITE);
        call(1, polled + ",'out':'0000000001000100','result':1");
        call(1, polled + ",'out':'0000000001000000','result':0");
        assertThat(replay()).isInstanceOfSatisfying(Replay.Diverged.class, diverged -> assertThat(diverged.number())
                .isEqualTo(5));
    }

    /** The tape does not hold what the device is, nor where the buffers of writev ended. */
    @Test
    void registersOfADeviceAndBuffersThatAreRefusedArePassedOver() throws IOException {
        call(1, EVENTFD);
        call(1, "'call':'pwrite','on':'vfio-device#1','value':4,'flags':4,'in':'06000000','result':4");
        call(1, "'call':'preadv','on':'vfio-device#1','value':4,'out':'86800000','result':4");
        call(1, "'call':'read','on':'vfio-device#1','value':4,'out':'86800000','result':4");
        call(
                1,
                "'call':'writev','on':'eventfd#1','value':12,'in':'010000000000000000000000','result':-1,"
                        + "'errno':'EINVAL'");
        assertThat(replay()).isEqualTo(new Replay.Same(1));
        assertThat(replay.passedOver()).isEqualTo(4);
    }

    @Test
    void readThatNoOrderExplainsDiverges() throws IOException {
        call(1, EVENTFD);
        call(1, WRITE);
        call(1, EMPTY);
        assertThat(replay()).isInstanceOfSatisfying(Replay.Diverged.class, diverged -> assertThat(diverged.number())
                .isEqualTo(3));
    }

    /** The tape's eventfd was made nonblocking by a call that it lacks, or its program had a signal. */
    @Test
    void readOfABlockingEventfdEndsAllTheSame() throws IOException {
        call(1, EVENTFD.replace("2048", "0"));
        call(1, EMPTY);
        call(1, EMPTY.replace("EAGAIN", "EINTR"));
        assertThat(replay()).isEqualTo(new Replay.Same(2));
        assertThat(replay.remarks()).first().isEqualTo("passed over: read 1");
    }

    @Test
    void slotThatAnotherThreadDeletedMeanwhileIsMade() throws IOException {
        vm();
        ByteBuffer region =
                ByteBuffer.allocate(Uapi.KvmUserspaceMemoryRegion.SIZE).order(ByteOrder.nativeOrder());
        region.putLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE, 0x1000);
        String made = hex(region);
        String deleted = hex(region.putLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE, 0));
        String other = hex(region.putInt(Uapi.KvmUserspaceMemoryRegion.SLOT, 1)
                .putLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE, 0x1000));
        String set = "'call':'ioctl','on':'vm#1','request':" + Uapi.KVM_SET_USER_MEMORY_REGION + ",'result':0,'in':'";
        call(1, set + made + "'");
        call(1, set + other + "'");
        call(2, set + deleted + "'");
        assertThat(replay()).isEqualTo(new Replay.Same(5));
    }

    private void irqfd(int thread, String eventfd, int gsi, int flags, String end) {
        ByteBuffer irqfd = ByteBuffer.allocate(Uapi.KvmIrqfd.SIZE).order(ByteOrder.nativeOrder());
        irqfd.putInt(Uapi.KvmIrqfd.GSI, gsi).putInt(Uapi.KvmIrqfd.FLAGS, flags);
        call(
                thread,
                "'call':'ioctl','on':'vm#1','request':" + Uapi.KVM_IRQFD + ",'in':'" + hex(irqfd) + "','names':{'"
                        + Uapi.KvmIrqfd.FD + "':'" + eventfd + "'}," + end);
    }

    /** On the tape thread 1 came before the deassign: here it has an irqfd, of which the tape knows nothing. */
    private void race() {
        vm();
        ioctl("vm#1", Uapi.KVM_CREATE_IRQCHIP, ",'value':0,'result':0");
        call(1, EVENTFD);
        irqfd(2, "eventfd#1", 6, 0, "'result':0");
        irqfd(2, "eventfd#1", 6, Uapi.KVM_IRQFD_FLAG_DEASSIGN, "'result':0");
        irqfd(1, "eventfd#1", 5, 0, "'result':-1,'errno':'EBUSY'");
        call(2, EVENTFD.replace('1', '2'));
    }

    @Test
    void eventfdOfARaceIsUnknownAfterIt() throws IOException {
        race();
        irqfd(2, "eventfd#1", 6, 0, "'result':0");
        assertThat(replay()).isEqualTo(new Replay.Same(7));
        assertThat(replay.remarks()).first().isEqualTo("unknown: KVM_IRQFD 2");
    }

    @Test
    void otherEventfdsAreComparedAfterARace() throws IOException {
        race();
        irqfd(2, "eventfd#2", 6, 0, "'result':-1,'errno':'EBUSY'");
        assertThat(replay().toString()).contains("KVM_IRQFD", "expected EBUSY, got 0");
    }

    /** Its recorder looked while another thread had closed the number, and the kernel when it was another eventfd's. */
    @Test
    void callOnANumberWithoutAFileIsPassedOver() throws IOException {
        race();
        ByteBuffer irqfd = ByteBuffer.allocate(Uapi.KvmIrqfd.SIZE).order(ByteOrder.nativeOrder());
        ioctl(
                "vm#1",
                Uapi.KVM_IRQFD,
                ",'in':'" + hex(irqfd.putInt(Uapi.KvmIrqfd.FD, 13)) + "','result':-1,'errno':'EBUSY'");
        assertThat(replay()).isEqualTo(new Replay.Same(7));
        assertThat(replay.remarks()).first().isEqualTo("passed over: KVM_IRQFD 1");
    }

    @Test
    void runWithoutMemoryEndsAsRecorded() throws IOException {
        vcpu();
        call(2, RUN);
        call(2, RUN.replace("'result':0", "'result':-1,'errno':'EINTR'"));
        assertThat(replay()).isEqualTo(new Replay.Same(3));
        assertThat(replay.unknown()).isEqualTo(2);
        assertThat(replay.remarks()).first().isEqualTo("unknown: KVM_RUN 2");
    }

    /** The fake's registers are then those that the guest had. */
    @Test
    void stateOfAGuestThatDidNotRunIsTakenFromTheTape() throws IOException {
        vcpu();
        call(2, RUN);
        ByteBuffer registers = ByteBuffer.allocate(Uapi.KvmRegs.SIZE).order(ByteOrder.nativeOrder());
        registers.putLong(Uapi.KvmRegs.RIP, 0x1234).putLong(Uapi.KvmRegs.RFLAGS, 2);
        ioctl(
                "vcpu#1",
                Uapi.KVM_GET_REGS,
                ",'in':'" + "00".repeat(Uapi.KvmRegs.SIZE) + "','out':'" + hex(registers) + "','result':0");
        assertThat(replay()).isEqualTo(new Replay.Same(3));
        assertThat(replay.unknown()).isEqualTo(2);
        ByteBuffer now = Buffers.allocate(Uapi.KvmRegs.SIZE);
        int vcpu = Objects.requireNonNull(replay.descriptors().get("vcpu#1"));
        assertThat(kernel.backend()
                        .libc()
                        .ioctl(vcpu, Uapi.KVM_GET_REGS, kernel.backend().libc().addressOf(now)))
                .isZero();
        assertThat(now.getLong(Uapi.KvmRegs.RIP)).isEqualTo(0x1234);
    }

    private void ioeventfd() {
        ByteBuffer ioeventfd = ByteBuffer.allocate(Uapi.KvmIoeventfd.SIZE).order(ByteOrder.nativeOrder());
        ioeventfd.putLong(Uapi.KvmIoeventfd.ADDR, 0xd0000000L).putInt(Uapi.KvmIoeventfd.LEN, 4);
        ioctl(
                "vm#1",
                Uapi.KVM_IOEVENTFD,
                ",'in':'" + hex(ioeventfd) + "','names':{'" + Uapi.KvmIoeventfd.FD + "':'eventfd#1'},'result':0");
    }

    /** The KVM_RUN of the signal has its line behind: it goes on. */
    @Test
    void eventfdThatTheGuestMayHaveSignalledIsUnknown() throws IOException {
        vcpu();
        call(1, EVENTFD);
        ioeventfd();
        call(1, read(3));
        call(2, RUN);
        assertThat(replay()).isEqualTo(new Replay.Same(5));
        assertThat(replay.remarks()).first().isEqualTo("unknown: KVM_RUN 1, read 1");
    }

    @Test
    void eventfdThatNoGuestReachesStillDiverges() throws IOException {
        vcpu();
        call(1, EVENTFD);
        call(2, RUN);
        call(1, WRITE);
        call(1, EMPTY);
        assertThat(replay()).isInstanceOf(Replay.Diverged.class);
    }

    @Test
    void registrationsAreComparedAfterAGuestRan() throws IOException {
        vcpu();
        call(1, EVENTFD);
        ioeventfd();
        call(2, RUN);
        ioeventfd();
        assertThat(replay().toString()).contains("KVM_IOEVENTFD", "expected 0, got EEXIST");
    }

    @Test
    void badAddressesAreBadAgain() throws IOException {
        vcpu();
        String fault = ",'result':-1,'errno':'EFAULT'";
        ioctl("vcpu#1", Uapi.KVM_GET_MP_STATE, ",'in':'00000000'" + fault);
        ioctl("vcpu#1", Uapi.KVM_GET_MP_STATE, fault);
        ioctl("vcpu#1", Uapi.KVM_SET_SIGNAL_MASK, fault);
        ioctl("vm#1", Uapi.KVM_IRQFD, ",'in':'" + "00".repeat(Uapi.KvmIrqfd.SIZE) + "'" + fault);
        ioctl("vcpu#1", Uapi.KVM_GET_DEVICE_ATTR, ",'in':'" + "00".repeat(Uapi.KvmDeviceAttr.SIZE) + "'" + fault);
        call(1, EVENTFD);
        call(1, WRITE.replace("'result':8", fault.substring(1)));
        call(1, WRITE);
        call(1, read(1).replace("'result':8", fault.substring(1)));
        assertThat(replay()).isEqualTo(new Replay.Same(12));
    }

    /** What the fake could not make stays away, and the tape goes on. */
    @Test
    void callsOnAFileThatWasNotMadeArePassedOver() throws IOException {
        call(1, "'call':'open','path':'/dev/sev','made':'group#1','result':0");
        call(1, "'call':'close','on':'group#1','result':0");
        vm();
        assertThat(replay()).isEqualTo(new Replay.Same(2));
        assertThat(replay.passedOver()).isEqualTo(2);
    }

    @Test
    void answersOfAnotherMachineArePassedOver() throws IOException {
        vcpu();
        ioctl("kvm#1", Uapi.KVM_CHECK_EXTENSION, ",'value':" + Uapi.KVM_CAP_MAX_VCPUS + ",'result':77");
        ioctl("vcpu#1", Uapi.KVM_SET_TSC_KHZ, ",'value':1000,'result':0");
        ioctl("vm#1", Uapi.KVM_CREATE_IRQCHIP, ",'result':-1,'errno':'EIO'");
        call(1, EVENTFD.replace("'made':'eventfd#1','result':0", "'result':-1,'errno':'EMFILE'"));
        String slot = ",'in':'" + "00".repeat(16) + "0010000000000000" + "00".repeat(8) + "'";
        ioctl("vm#1", Uapi.KVM_SET_USER_MEMORY_REGION, slot + ",'result':-1,'errno':'EINVAL'");
        assertThat(replay()).isEqualTo(new Replay.Same(3));
        assertThat(replay.passedOver()).isEqualTo(5);
    }

    /** The fake has the memory, and would refuse the second as there is one. */
    @Test
    void callThatALimitRefusedIsNotMade() throws IOException {
        vm();
        ioctl("vm#1", Uapi.KVM_CREATE_VCPU, ",'value':0,'result':-1,'errno':'ENOMEM'");
        ioctl("vm#1", Uapi.KVM_CREATE_VCPU, ",'value':0,'made':'vcpu#1','result':0");
        assertThat(replay()).isEqualTo(new Replay.Same(3));
        assertThat(replay.passedOver()).isEqualTo(1);
    }

    @Test
    void otherwiseTheSameAnswersDiverge() throws IOException {
        vcpu();
        ioctl("kvm#1", Uapi.KVM_CHECK_EXTENSION, ",'value':" + Uapi.KVM_CAP_IRQFD + ",'result':77");
        assertThat(replay()).isInstanceOf(Replay.Diverged.class);
    }
}

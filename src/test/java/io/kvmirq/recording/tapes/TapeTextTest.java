/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiVfio;
import java.io.IOException;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;

/** Structures are vectors compiled from the headers of Linux 7.1.8, where they are not obvious. */
class TapeTextTest {
    private static final String VM = "anon_inode:kvm-vm";
    private static final String EVENTFD = "anon_inode:[eventfd]";

    private final StringBuilder tape = new StringBuilder();

    private TapeTextTest line(String fields) {
        tape.append("{'pid':1,'tid':1,").append(fields).append("}\n");
        return this;
    }

    private TapeTextTest open(String path, int result) {
        return line("'call':'open','fd':-1,'file':'" + path + "','flags':2,'result':" + result);
    }

    private TapeTextTest eventfd(int result) {
        return line("'call':'eventfd','fd':-1,'file':null,'value':0,'flags':526336,'result':" + result);
    }

    private TapeTextTest close(int fd, String file) {
        return line("'call':'close','fd':" + fd + ",'file':'" + file + "','result':0,'errno':0");
    }

    private TapeTextTest ioctl(int fd, String file, long request, String rest) {
        return line("'call':'ioctl','fd':" + fd + ",'file':'" + file + "','request':" + request + "," + rest);
    }

    private TapeTextTest vm(long request, String hex, int errno) {
        return ioctl(
                6, VM, request, "'value':0,'in':'" + hex + "','result':" + (errno == 0 ? 0 : -1) + ",'errno':" + errno);
    }

    private List<String> text(int routeLimit) throws IOException {
        TapeText text = new TapeText(routeLimit);
        return TapeReaderTest.read(tape.toString()).stream().map(text::render).toList();
    }

    private List<String> text() throws IOException {
        return text(TapeText.ROUTE_LIMIT);
    }

    @Test
    void callsAreNamedAndDescriptorsAreWhatTheyWereOpenOn() throws IOException {
        open("/dev/kvm", 5)
                .ioctl(5, "/dev/kvm", Uapi.KVM_CREATE_VM, "'value':0,'result':6")
                .ioctl(6, VM, Uapi.KVM_CREATE_VCPU, "'value':3,'result':8")
                .ioctl(6, VM, Uapi.KVM_CHECK_EXTENSION, "'value':25,'result':4096")
                .ioctl(
                        6,
                        VM,
                        Uapi.KVM_CREATE_DEVICE,
                        "'in':'040000000000000000000000','out':'040000000b00000000000000','result':0")
                .ioctl(
                        11,
                        "anon_inode:kvm-vfio",
                        Uapi.KVM_SET_DEVICE_ATTR,
                        "'in':'000000000100000001000000000000000000000000000000','data':'06000000','result':-1,'errno':22")
                .close(11, "anon_inode:kvm-vfio");
        assertThat(text())
                .containsExactly(
                        "open /dev/kvm = kvm#1",
                        "kvm#1 KVM_CREATE_VM 0 = vm#1",
                        "vm#1 KVM_CREATE_VCPU 3 = vcpu#1",
                        "vm#1 KVM_CHECK_EXTENSION KVM_CAP_IRQ_ROUTING = 4096",
                        "vm#1 KVM_CREATE_DEVICE type=VFIO = kvm-vfio#1",
                        "kvm-vfio#1 KVM_SET_DEVICE_ATTR VFIO_FILE ADD fd=vm#1 = EINVAL",
                        "kvm-vfio#1 close = 0");
    }

    @Test
    void irqfdsHaveSpeltFlagsAndResamplers() throws IOException {
        eventfd(7)
                .eventfd(9)
                .vm(Uapi.KVM_IRQFD, "070000000a000000020000000900000000000000000000000000000000000000", 0)
                .vm(Uapi.KVM_IRQFD, "070000000a000000010000000000000000000000000000000000000000000000", 0)
                .vm(Uapi.KVM_IRQFD, "070000000a000000000000000000000000000000000000000000000000000000", 16)
                .vm(Uapi.KVM_IRQFD, "070000000a000000800000000000000000000000000000000000000000000000", 22);
        assertThat(text())
                .containsExactly(
                        "eventfd 0 flags=NONBLOCK|CLOEXEC = eventfd#1",
                        "eventfd 0 flags=NONBLOCK|CLOEXEC = eventfd#2",
                        "vm#1 KVM_IRQFD fd=eventfd#1 gsi=10 flags=RESAMPLE resamplefd=eventfd#2 = 0",
                        "vm#1 KVM_IRQFD fd=eventfd#1 gsi=10 flags=DEASSIGN = 0",
                        "vm#1 KVM_IRQFD fd=eventfd#1 gsi=10 = EBUSY",
                        "vm#1 KVM_IRQFD fd=eventfd#1 gsi=10 flags=0x80 = EINVAL");
    }

    @Test
    void numberUsedAgainIsAnotherFile() throws IOException {
        eventfd(7).close(7, EVENTFD).eventfd(7).close(7, EVENTFD);
        assertThat(text())
                .containsExactly(
                        "eventfd 0 flags=NONBLOCK|CLOEXEC = eventfd#1",
                        "eventfd#1 close = 0",
                        "eventfd 0 flags=NONBLOCK|CLOEXEC = eventfd#2",
                        "eventfd#2 close = 0");
    }

    @Test
    void duplicateIsTheSameFileInAnotherNumber() throws IOException {
        eventfd(7)
                .line("'call':'fcntl','fd':7,'file':'" + EVENTFD + "','request':1030,'value':0,'result':8")
                .close(7, EVENTFD)
                .close(8, EVENTFD);
        assertThat(text())
                .containsSubsequence(
                        "eventfd#1 F_DUPFD_CLOEXEC 0 = eventfd#1", "eventfd#1 close = 0", "eventfd#1 close = 0");
    }

    @Test
    void ioeventfdsShowTheirAddress() throws IOException {
        eventfd(11)
                .vm(Uapi.KVM_IOEVENTFD, "341200000000000050c0000000000000020000000b00000003000000" + "00".repeat(36), 0)
                .vm(
                        Uapi.KVM_IOEVENTFD,
                        "0000000000000000003000fe00000000040000000b00000000000000" + "00".repeat(36),
                        17);
        assertThat(text())
                .contains(
                        "vm#1 KVM_IOEVENTFD fd=eventfd#1 addr=0xc050 len=2 flags=DATAMATCH|PIO datamatch=0x1234 = 0",
                        "vm#1 KVM_IOEVENTFD fd=eventfd#1 addr=0xfe003000 len=4 = EEXIST");
    }

    @Test
    void routesAreSummarisedMessagesFirst() throws IOException {
        String pin = "040000000100000000000000000000000200000004000000" + "00".repeat(24);
        String message = "180000000200000000000000000000000010e0fe000000004140000000000000" + "00".repeat(16);
        vm(Uapi.KVM_SET_GSI_ROUTING, "0200000000000000" + pin + message, 0)
                .vm(Uapi.KVM_SET_GSI_ROUTING, "0000000000000000", 0)
                .vm(Uapi.KVM_SET_GSI_ROUTING, "0010000000000000" + message, 14);
        assertThat(text())
                .containsExactly(
                        "vm#1 KVM_SET_GSI_ROUTING 2 routes: 24→msi 0xfee01000/0x4041, 4→ioapic:4 = 0",
                        "vm#1 KVM_SET_GSI_ROUTING 0 routes = 0",
                        "vm#1 KVM_SET_GSI_ROUTING 4096 routes: 24→msi 0xfee01000/0x4041, … 4095 more = EFAULT");
        assertThat(text(1).get(0))
                .isEqualTo("vm#1 KVM_SET_GSI_ROUTING 2 routes: 24→msi 0xfee01000/0x4041, … 1 more = 0");
    }

    @Test
    void injectionShowsMessageAndLine() throws IOException {
        vm(Uapi.KVM_SIGNAL_MSI, "0000e0fe00000000300000000000000000000000000000000000000000000000", 0)
                .vm(Uapi.KVM_IRQ_LINE, "0400000001000000", 0)
                .ioctl(6, VM, Uapi.KVM_IRQ_LINE_STATUS, "'in':'0400000001000000','out':'ffffffff01000000','result':0");
        assertThat(text())
                .containsExactly(
                        "vm#1 KVM_SIGNAL_MSI msi 0xfee00000/0x30 = 0",
                        "vm#1 KVM_IRQ_LINE gsi=4 level=1 = 0",
                        "vm#1 KVM_IRQ_LINE_STATUS gsi=4 level=1 = 0 status=-1");
    }

    @Test
    void capabilitiesAndMemoryAreNamed() throws IOException {
        vm(Uapi.KVM_ENABLE_CAP, "79000000000000001800000000000000" + "00".repeat(88), 0)
                .vm(
                        Uapi.KVM_SET_USER_MEMORY_REGION,
                        "0000000000000000001000000000000000000100000000000000000000000000",
                        0);
        assertThat(text())
                .containsExactly(
                        "vm#1 KVM_ENABLE_CAP cap=KVM_CAP_SPLIT_IRQCHIP args=0x18 = 0",
                        "vm#1 KVM_SET_USER_MEMORY_REGION slot=0 guest_phys_addr=0x1000 memory_size=0x10000 = 0");
    }

    @Test
    void eventfdsShowCountsNotBytes() throws IOException {
        String on = "'fd':7,'file':'" + EVENTFD + "','value':8,";
        eventfd(7)
                .line("'call':'write'," + on + "'in':'0300000000000000','result':8")
                .line("'call':'read'," + on + "'out':'feffffffffffffff','result':8")
                .line("'call':'preadv2'," + on + "'result':-1,'errno':11")
                .line("'call':'eventfd_write'," + on + "'in':'0400000000000000','result':0")
                .line("'call':'eventfd_read'," + on + "'out':'0400000000000000','result':0")
                .line("'call':'eventfd_read'," + on + "'result':-1,'errno':11")
                .line("'call':'readv'," + on + "'out':'0500000000000000','result':8")
                .line("'call':'writev'," + on + "'in':'01000000000000000200000000000000','result':16")
                .line("'call':'pread'," + on + "'flags':64,'result':-1,'errno':29")
                .line("'call':'poll','fd':7,'file':null,'value':5000000,'in':'0700000001000000',"
                        + "'out':'0700000001000100','result':1")
                .line("'call':'ppoll','fd':7,'file':null,'value':5000000,'in':'0700000001000000',"
                        + "'out':'0700000001000100','result':1")
                .line("'call':'ppoll','fd':7,'file':null,'value':-1,'in':'0700000001000000',"
                        + "'out':'0700000001000000','result':0");
        assertThat(text())
                .contains(
                        "eventfd#1 write 3 = 8",
                        "eventfd#1 read = 18446744073709551614",
                        "eventfd#1 preadv2 = EAGAIN",
                        "eventfd#1 eventfd_write 4 = 0",
                        "eventfd#1 eventfd_read = 4",
                        "eventfd#1 eventfd_read = EAGAIN",
                        "eventfd#1 readv = 5",
                        "eventfd#1 writev = 16",
                        "eventfd#1 pread at 0x40 = ESPIPE",
                        "poll eventfd#1:IN timeout=5ms = eventfd#1:IN",
                        "ppoll eventfd#1:IN timeout=5ms = eventfd#1:IN",
                        "ppoll eventfd#1:IN = 0");
    }

    @Test
    void registersOfADeviceShowTheirBytes() throws IOException {
        String on = "'fd':9,'file':'anon_inode:[vfio-device]','value':4,'flags':7696581394436";
        line("'call':'pwrite'," + on + ",'in':'06010000','result':4");
        line("'call':'preadv'," + on + ",'out':'86801533','result':4");
        line("'call':'pread'," + on + ",'out':'" + "00".repeat(17) + "','cut':true,'result':17");
        assertThat(text())
                .containsExactly(
                        "vfio-device#1 pwrite at 0x70000000004 06010000 = 4",
                        "vfio-device#1 preadv at 0x70000000004 86801533 = 4",
                        "vfio-device#1 pread at 0x70000000004 17 bytes (cut) = 17");
    }

    @Test
    void shortStructuresOfAnyRequestAreSaidToBeShort() throws IOException {
        for (UapiTable.Request request : UapiTable.REQUESTS) {
            for (String hex : List.of("", "00", "000000", "0000000000000000")) {
                ioctl(6, VM, request.number(), "'in':'" + hex + "','out':'" + hex + "','result':0");
            }
        }
        assertThat(text()).hasSize(UapiTable.REQUESTS.size() * 4);
    }

    @Test
    void terminalIsNotCommandedByATape() throws IOException {
        line("'call':'a\\u001b[2Jb','fd':6,'file':'/dev/\\u009b31m\\u202e\\n','result':0");
        tape.append("{'header':{'pid':1,'program':'\\u001b]0;x\\u0007','arch':'a','kernel':'k'}}\n");
        assertThat(text()).containsExactly("/dev/?31m??(fd 6) a?[2Jb = 0", "# ?]0;x? as process 1 on Linux k a");
    }

    @Test
    void deviceHasAnIdentityAlsoWhenItsNumberWasThereBefore() throws IOException {
        vm(Uapi.KVM_CREATE_DEVICE, "040000000b00000000000000", 0)
                .vm(Uapi.KVM_CREATE_DEVICE, "040000000b00000001000000", 0)
                .vm(Uapi.KVM_CREATE_DEVICE, "040000000b00000000000000", 19);
        assertThat(text())
                .containsExactly(
                        "vm#1 KVM_CREATE_DEVICE type=VFIO = kvm-vfio#1",
                        "vm#1 KVM_CREATE_DEVICE type=VFIO flags=TEST = 0",
                        "vm#1 KVM_CREATE_DEVICE type=VFIO = ENODEV");
    }

    @Test
    void programThatReplacedAnotherHasItsOwnDescriptors() throws IOException {
        eventfd(7);
        tape.append("{'header':{'pid':1,'program':'/x','arch':'a','kernel':'k'}}\n");
        vm(Uapi.KVM_IRQFD, "0700000018000000" + "00".repeat(24), 9);
        assertThat(text().get(2)).isEqualTo("vm#1 KVM_IRQFD fd=7 gsi=24 = EBADF");
    }

    @Test
    void dup2ReplacesWhatTheNumberWas() throws IOException {
        eventfd(7)
                .eventfd(8)
                .line("'call':'dup2','fd':7,'file':'" + EVENTFD + "','value':8,'flags':0,'result':8")
                .line("'call':'dup3','fd':7,'file':'" + EVENTFD + "','value':9,'flags':524288,'result':9")
                .line("'call':'dup','fd':7,'file':'" + EVENTFD + "','value':0,'flags':0,'result':-1,'errno':24")
                .close(8, EVENTFD);
        assertThat(text().subList(2, 6))
                .containsExactly(
                        "eventfd#1 dup2 8 = eventfd#1",
                        "eventfd#1 dup3 9 flags=CLOEXEC = eventfd#1",
                        "eventfd#1 dup = EMFILE",
                        "eventfd#1 close = 0");
    }

    @Test
    void cutArgumentIsSaidToBeCut() throws IOException {
        ioctl(6, VM, 0xaeffL, "'cut':true,'in':'01','result':0");
        assertThat(text()).containsExactly("vm#1 ioctl 0xaeff [01] (cut) = 0");
    }

    @Test
    void whatIsUnknownIsKeptAsNumbers() throws IOException {
        ioctl(6, VM, 0xaeffL, "'value':7,'result':-1,'errno':25")
                .ioctl(6, VM, Uapi.KVM_IRQFD, "'value':0,'in':null,'result':-1,'errno':14")
                .ioctl(6, VM, Uapi.KVM_IRQFD, "'value':0,'in':'0102','result':-1,'errno':14")
                .line("'call':'ioctl','fd':99,'file':null,'request':44640,'value':0,'result':-1,'errno':9")
                .line("'call':'later','fd':6,'file':'" + VM + "','result':3");
        assertThat(text())
                .containsExactly(
                        "vm#1 ioctl 0xaeff 7 = ENOTTY",
                        "vm#1 KVM_IRQFD (argument unreadable) = EFAULT",
                        "vm#1 KVM_IRQFD (2 bytes of struct kvm_irqfd, which has 32) = EFAULT",
                        "closed(fd 99) KVM_CREATE_IRQCHIP = EBADF",
                        "vm#1 later = 3");
    }

    @Test
    void sameNumberOnAnotherFileIsAnotherRequest() throws IOException {
        ioctl(4, "anon_inode:[vfio-device]", UapiVfio.VFIO_IOMMU_GET_INFO, "'in':'0c000000','result':0")
                .ioctl(5, "/dev/vfio/vfio", UapiVfio.VFIO_IOMMU_GET_INFO, "'in':'0c000000','result':0");
        assertThat(text().get(0)).startsWith("vfio-device#1 VFIO_DEVICE_GET_PCI_HOT_RESET_INFO ");
        assertThat(text().get(1)).startsWith("container#1 VFIO_IOMMU_GET_INFO ");
    }

    @Test
    void otherProcessesAreNamedAndHaveTheirOwnNumbers() throws IOException {
        eventfd(7);
        tape.append(String.format(
                Locale.ROOT,
                "{'pid':2,'tid':2,'call':'write','fd':7,'file':'%s','value':8,"
                        + "'in':'0100000000000000','result':8}\n",
                EVENTFD));
        assertThat(text().get(1)).isEqualTo("[2] eventfd#2 write 1 = 8");
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.RouteTable;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The fake or real kernel of one test, and the objects that the test kit creates on it. The kit creates an object when
 * the test first calls the method that returns it, and closes all objects after the test. Thread-safe, but the vCPUs
 * belong to the first thread that gets one.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="test"}
 */
public final class KvmHost {
    private static final int IOAPIC_PINS = 24;
    private static final String ADDRESS = "0000:03:00.0";
    private static final int GROUP = 1;
    private static final int VECTORS = 64;
    private static final long THREAD_MILLIS = 1_000;
    private static final String BY_KIT = "a line of the kit";

    /** The kit's VM. On real KVM, the kit runs its vCPUs unless {@code testRuns} is true. */
    record Plan(int vcpus, boolean testRuns) {
        static final Plan DEFAULT = new Plan(1, false);
    }

    /** An object that the kit closes. */
    private record Owned(String name, AutoCloseable handle, Optional<Fd> file) {}

    private final Optional<FakeKernel> fake;
    private final Faults faults;
    private final Plan plan;
    private final RecordingBackend seam;
    private final Kernel kernel;
    /** The GSIs of {@link #interrupt}, keyed by the number of the eventfd. */
    private final Map<Integer, Gsi> ownIrqfds = new ConcurrentHashMap<>();

    private volatile @Nullable CountingGuest guest;
    // Guarded by this
    private final Deque<Owned> owned = new ArrayDeque<>();
    private final List<Vcpu> vcpus = new ArrayList<>();
    private @Nullable Vm vm;
    private @Nullable FakePciDevice device;
    private @Nullable VfioDevice vfio;
    private boolean ended;

    KvmHost(Optional<FakeKernel> fake, KernelBackend backend, Faults faults, Plan plan) {
        this.fake = fake;
        this.faults = faults;
        this.plan = plan;
        this.seam = new RecordingBackend(backend, faults);
        this.kernel = Kernel.over(seam.backend());
        kernel.traceHandles(this::line);
        fake.ifPresent(traced -> traced.messages().traceCallers(this::line));
        fake.ifPresent(traced -> traced.traceCalls(TestLine::call));
        faults.listen();
    }

    /** A host on a fresh fake kernel. The caller must end it. */
    static KvmHost onFake(Profile profile, Faults faults, Plan plan) {
        FakeKernel fake = new FakeKernel(profile);
        return new KvmHost(Optional.of(fake), fake.backend(), faults, plan);
    }

    private String line() {
        return seam.isOfKit() ? BY_KIT : TestLine.here();
    }

    /** The kernel of this test. */
    public Kernel kernel() {
        return kernel;
    }

    /** Whether the test runs on the real KVM of this machine. */
    public boolean isReal() {
        return fake.isEmpty();
    }

    /** The fake kernel. Throws IllegalStateException if the test runs on real KVM. */
    public FakeKernel fake() {
        return fake.orElseThrow(() ->
                new IllegalStateException("this test runs on real KVM, which has no FakeKernel: check isReal() first"));
    }

    /** Returns the rules that make the test's calls fail. They do not affect the test kit's calls. */
    public Faults faults() {
        return faults;
    }

    /**
     * Returns a VM with an irqchip and vCPUs whose LAPICs are enabled. The irqchip is split if the kernel does not
     * support the full irqchip. On real KVM each vCPU runs a guest that counts interrupts. An arm64 VM has no VGIC.
     */
    public synchronized Vm vm() {
        if (vm == null) {
            requireOpen();
            vm = seam.aside(this::makeVm);
        }
        return vm;
    }

    private Vm makeVm() {
        Vm made = Vm.create(kernel);
        own("Vm", made, made.fd());
        boolean arm64 = made.isArm64();
        if (!arm64) {
            createIrqchip(made);
        }
        if (isReal() && !plan.testRuns() && !arm64) {
            CountingGuest running = new CountingGuest(made, plan.vcpus(), seam);
            owned.push(new Owned("guest", running, Optional.empty()));
            running.start();
            guest = running;
            int number = numberOf(made.fd());
            seam.onSignal(event -> signalled(running, made, number, event));
            return made;
        }
        for (int id = 0; id < plan.vcpus(); id++) {
            Vcpu vcpu = made.createVcpu(new VcpuId(id));
            own("Vcpu", vcpu, vcpu.fd());
            if (arm64) {
                vcpu.arm64().initialize();
            } else {
                vcpu.x86().enableLapic();
            }
            vcpus.add(vcpu);
        }
        return made;
    }

    private void signalled(CountingGuest of, Vm made, int number, int event) {
        Optional<Gsi> gsi = Optional.ofNullable(ownIrqfds.get(event));
        if (gsi.isEmpty()) {
            OptionalInt ofTest = seam.gsi(number, event);
            gsi = ofTest.isPresent() ? Optional.of(new Gsi(ofTest.getAsInt())) : Optional.empty();
        }
        gsi.ifPresent(raised -> of.signalled(raised, made.routes().of(raised)));
    }

    private static void createIrqchip(Vm made) {
        try {
            made.x86().createIrqchip();
        } catch (KernelException e) {
            if (!e.errno().equals(Errno.ENOTTY)) {
                throw e;
            }
            made.x86().createSplitIrqchip(IOAPIC_PINS);
        }
    }

    private void own(String name, AutoCloseable handle, Fd file) {
        owned.push(new Owned(name, handle, Optional.of(file)));
    }

    /** Creates an eventfd, which the test kit closes. */
    public synchronized EventFd eventFd() {
        requireOpen();
        return seam.aside(() -> {
            EventFd made = EventFd.create(kernel);
            own("EventFd", made, made.fd());
            return made;
        });
    }

    /**
     * Creates an eventfd that raises a vector on a vCPU of {@link #vm}. The eventfd has its own irqfd and route, which
     * the test kit removes. {@link #calls} does not count the kit's calls for it.
     *
     * @param vcpu the id of the vCPU
     * @throws IllegalArgumentException if the VM has no such vCPU
     */
    public synchronized EventFd interrupt(int vcpu, InterruptVector vector) {
        if (vcpu < 0 || vcpu >= plan.vcpus()) {
            throw new IllegalArgumentException(
                    "the kit's Vm has no vcpu " + vcpu + ": its first is 0, and vcpus of @KvmTest is " + plan.vcpus());
        }
        Vm to = vm();
        return seam.aside(() -> {
            MaskableVector made = MaskableVector.create(to, MsiMessage.to(new VcpuId(vcpu), vector));
            ownIrqfds.put(numberOf(made.event().fd()), made.gsi());
            own("EventFd", made, made.event().fd());
            return made.event();
        });
    }

    /**
     * Returns an object for assertions about the vCPUs with this id: on the fake kernel in all VMs, on real KVM only in
     * {@link #vm}. The vCPU need not exist before the first assertion.
     */
    public KvmVcpu vcpu(int id) {
        return new KvmVcpu(this, new VcpuId(id));
    }

    /** The handle of a vCPU that the test runs itself. */
    synchronized Vcpu handle(int id) {
        vm();
        if (guest != null) {
            throw new IllegalStateException(
                    "the kit's guest runs the vCPUs of this test: the test method itself takes a"
                            + " parameter Vcpu where the test runs them");
        }
        if (id >= vcpus.size()) {
            throw new IllegalStateException(
                    "the test has more Vcpu parameters than its vCPUs (" + vcpus.size() + "): set vcpus of @KvmTest");
        }
        return vcpus.get(id);
    }

    /**
     * A PCI Express device of the fake host at 0000:03:00.0, bound to vfio-pci, with function-level reset, INTx, 32 MSI
     * vectors and 64 MSI-X vectors. {@link FakeKernel#pciDevice} adds other devices.
     *
     * @throws IllegalStateException if the test runs on real KVM
     */
    public synchronized FakePciDevice device() {
        if (device == null) {
            device = fake().pciDevice(ADDRESS, GROUP)
                    .intx()
                    .msi(32)
                    .msix(VECTORS)
                    .express()
                    .resettable()
                    .add();
        }
        return device;
    }

    /** Returns {@link #device}, opened through VFIO as a bus master, and added to KVM-VFIO of {@link #vm}. */
    public synchronized VfioDevice vfio() {
        if (vfio == null) {
            FakePciDevice of = device();
            KvmVfio holder = ownKvmVfio();
            vfio = seam.aside(() -> {
                VfioDevice opened = VfioDevice.open(kernel, of.address(), holder);
                own("VfioDevice", opened, opened.fd());
                opened.config().enableBusMaster();
                return opened;
            });
        }
        return vfio;
    }

    private KvmVfio ownKvmVfio() {
        Vm of = vm();
        return seam.aside(() -> {
            KvmVfio made = KvmVfio.create(of);
            owned.push(new Owned("KvmVfio", made, Optional.empty()));
            return made;
        });
    }

    /** Returns how often the test made a call, by its name in {@link Faults}, such as {@code KVM_IRQFD}. */
    public int calls(String call) {
        return faults.count(call);
    }

    /** Returns how often the test has replaced the GSI routes of a VM. */
    public int commits() {
        return calls("KVM_SET_GSI_ROUTING");
    }

    /**
     * Returns the interrupts that reached no vCPU and are not pending, one sentence each. On the fake kernel the result
     * is {@link FakeKernel#lost}. Real KVM shows only some lost interrupts. There, the list contains signals to irqfds
     * whose GSI had no route and, if the test kit's guest runs the vCPUs, the last signal to a GSI whose vector the
     * guest did not take.
     */
    public List<String> lost() {
        CountingGuest counting = guest;
        return fake.isPresent() ? fake.get().lost() : counting == null ? seam.unrouted() : counting.lost();
    }

    /** The interrupts that a failed test lost, dropped, or left waiting outside the LAPICs. */
    Stream<String> known() {
        Stream<String> lost = lost().stream().map("lost: "::concat);
        Stream<String> waiting = fake.stream().flatMap(asked -> asked.messages().waiting().stream());
        Stream<String> dropped = fake.stream().flatMap(asked -> asked.messages().ended().stream());
        waiting = waiting.filter(message -> !message.contains(" of vcpu ")).map("waits: "::concat);
        return Stream.concat(Stream.concat(lost, waiting), dropped.map("dropped: "::concat));
    }

    RecordingBackend seam() {
        return seam;
    }

    synchronized CountingGuest guest() {
        if (guest == null) {
            throw new IllegalStateException("on real KVM only the guest of the kit's own Vm counts interrupts: "
                    + (plan.testRuns() ? "take no Vcpu as a parameter" : "take a Vm as a parameter and use it"));
        }
        return guest;
    }

    /** Ends blocking calls on the kit's objects. */
    void kickAll() {
        List<Vcpu> all;
        synchronized (this) {
            all = List.copyOf(vcpus);
        }
        seam.aside(() -> all.forEach(Vcpu::kick));
    }

    private void requireOpen() {
        if (ended) {
            throw new IllegalStateException("the test has ended, and the kit has closed all objects that it passed");
        }
    }

    /** Closes the kit's objects, last first. Returns a sentence for each that the test left open or closed wrongly. */
    synchronized List<String> end() {
        if (ended) {
            return List.of();
        }
        ended = true;
        boolean interrupted = Thread.interrupted(); // set by the test; cleared so that the kit's waits do not end early
        try {
            return closeAll();
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private List<String> closeAll() {
        List<String> said = new ArrayList<>();
        seam.threads(THREAD_MILLIS).forEach(thread -> said.add("the test left " + thread));
        seam.assigned().forEach(assigned -> said.add("the test left " + assigned));
        if (guest != null) {
            guest.death().ifPresent(said::add);
        }
        seam.aside(() -> {
            sayRoutes(said);
            closedByTest()
                    .forEach(name -> said.add("the test closed the " + name
                            + " that the kit passed to it: leave that to the kit, which closes it after the test"));
            while (!owned.isEmpty()) {
                close(owned.pop(), said);
            }
            kernel.close();
            sayHandles(said);
        });
        return said;
    }

    private static void close(Owned handle, List<String> said) {
        try {
            handle.handle().close();
        } catch (Exception e) {
            said.add("the kit could not close its " + handle.name() + ": " + e.getMessage());
        }
    }

    private void sayRoutes(List<String> said) {
        if (vm == null) {
            return;
        }
        RouteTable routes = vm.routes();
        seam.routed(numberOf(vm.fd())).forEach((number, line) -> {
            Gsi gsi = new Gsi(number);
            boolean message = routes.of(gsi).stream().anyMatch(Route.Msi.class::isInstance);
            if (message && !ownIrqfds.containsValue(gsi)) {
                said.add("the test left the route of " + gsi + " in the kit's Vm, made at " + line);
            }
        });
    }

    private static int numberOf(Fd file) {
        try (Fd.Lease lease = file.lease()) {
            return lease.number();
        } catch (ClosedHandleException e) {
            return -1;
        }
    }

    private List<String> closedByTest() {
        List<String> closed = new ArrayList<>();
        for (Owned handle : owned) {
            if (handle.file().isPresent() && isClosed(() -> handle.file().get().lease())) {
                closed.add(handle.name());
            }
        }
        if (isClosed(this::useKernel)) {
            closed.add("Kernel");
        }
        return closed;
    }

    private AutoCloseable useKernel() {
        kernel.device();
        return () -> {};
    }

    private static boolean isClosed(Supplier<AutoCloseable> use) {
        try {
            use.get().close();
            return false;
        } catch (ClosedHandleException e) {
            return true;
        } catch (Exception e) {
            return false;
        }
    }

    /** Reports leaked handles. An open handle of the kit has another user, which {@code said} may already name. */
    private void sayHandles(List<String> said) {
        boolean explained = !said.isEmpty();
        List<String> open = kernel.openHandles();
        for (String handle : open) {
            if (!handle.endsWith(BY_KIT)) {
                said.add("the test left " + handle);
            } else if (!explained) {
                said.add("the test left something that uses the kit's " + handle.substring(0, handle.indexOf(',')));
            }
        }
        if (open.isEmpty() && fake.isPresent()) {
            fake.get()
                    .openDescriptors()
                    .forEach((fd, kind) ->
                            said.add("the test left descriptor " + fd + " open (" + kind + "), of a call of its own"));
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.MsiMessage;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.LongConsumer;

/**
 * The irqfds of all VMs, in the order of {@code vm_list}.
 *
 * <p>Source: include/linux/kvm_host.h ({@code struct kvm}), include/linux/kvm_irqfd.h, virt/kvm/eventfd.c and irqchip.c,
 * include/linux/irqbypass.h.
 */
final class Irqfds {
    static final String VMS = "vm_list";

    static final String KVM = "kvm";

    private static final int MOST_VMS = 1 << 14;
    private static final int MOST_IRQFDS = 1 << 16;
    /** A GSI has a pin of each of two PICs and of the IOAPIC. */
    private static final int MOST_ROUTES = 8;

    /** {@code PID_MAX_LIMIT}. */
    private static final int MOST_THREADS = 1 << 22;

    private static final int MSI = 2;
    /** {@code KVM_MSI_VALID_DEVID}. */
    private static final int HAS_DEVICE = 1;

    /** An irqfd of a VM, by its address. */
    record Place(long vm, long irqfd) {}

    private final KernelMemory memory;
    private final Types types;
    private final Symbols symbols;
    private final Layout list;
    private final Layout vm;
    private final Layout irqfd;
    private final Layout table;
    private final Layout route;
    private final Layout producer;
    /** By the address of the eventfd. */
    private Map<Long, List<Place>> places = Map.of();

    Irqfds(KernelMemory memory, Types types, Symbols symbols) {
        this.memory = memory;
        this.types = types;
        this.symbols = symbols;
        list = types.layout("list_head", "next", "prev");
        vm = types.ofModule(KVM, "kvm", "vm_list", "userspace_pid", "irqfds.items", "irq_routing");
        irqfd = types.ofModule(
                KVM,
                "kvm_kernel_irqfd",
                "list",
                "kvm",
                "eventfd",
                "gsi",
                "producer",
                "resampler",
                "irq_entry.type",
                "irq_entry.msi.address_lo",
                "irq_entry.msi.address_hi",
                "irq_entry.msi.data",
                "?irq_entry.msi.flags",
                "?irq_entry.msi.devid");
        table = types.ofModule(KVM, "kvm_irq_routing_table", "nr_rt_entries", "map");
        route = types.ofModule(
                KVM,
                "kvm_kernel_irq_routing_entry",
                "gsi",
                "type",
                "link",
                "msi.address_lo",
                "msi.address_hi",
                "msi.data",
                "?msi.flags",
                "?msi.devid");
        producer = types.ofModule(KVM, "irq_bypass_producer", "irq");
    }

    /** The irqfds of all VMs. */
    List<KernelIrqfd> all() {
        List<KernelIrqfd> all = new ArrayList<>();
        walk((owner, snapshot) -> all.add(of(owner, snapshot)));
        return all;
    }

    /** The irqfds of an eventfd. The list of all is read once, and again if it has none of the eventfd or an old one. */
    List<KernelIrqfd> of(long eventfd) {
        // The memory of an old one may be in other use.
        List<KernelIrqfd> found = Unseen.known(() -> known(eventfd)).known().orElse(List.of());
        if (found.isEmpty()) {
            Map<Long, List<Place>> now = new HashMap<>();
            walk((owner, snapshot) -> now.computeIfAbsent(snapshot.number("eventfd"), same -> new ArrayList<>())
                    .add(new Place(owner.address(), snapshot.address())));
            places = now;
            found = known(eventfd);
        }
        return found;
    }

    /** The only irqfd of an eventfd. */
    Optional<Place> only(long eventfd) {
        return of(eventfd).size() == 1
                ? places.getOrDefault(eventfd, List.of()).stream().findFirst()
                : Optional.empty();
    }

    /** The irqfds of an eventfd that are still where they were; none if one is not. */
    private List<KernelIrqfd> known(long eventfd) {
        List<KernelIrqfd> found = new ArrayList<>();
        for (Place place : places.getOrDefault(eventfd, List.of())) {
            Layout.Snapshot snapshot = irqfd.at(memory, place.irqfd);
            long node = place.irqfd + irqfd.offset("list");
            long before = list.at(memory, node).pointer("prev");
            if (snapshot.number("kvm") != place.vm || snapshot.number("eventfd") != eventfd) {
                return List.of();
            }
            found.add(of(vm.at(memory, place.vm), snapshot));
            // One that was deassigned points to itself: list_del_init().
            if (before == node || list.at(memory, before).number("next") != node) {
                return List.of();
            }
        }
        return found;
    }

    /** Visits the VMs, without one that is being created: it has no thread yet, and no irqfd. */
    void vms(Consumer<Layout.Snapshot> visit) {
        nodes(symbols.address(VMS), MOST_VMS, "the list of VMs", node -> {
            Layout.Snapshot candidate = vm.at(memory, node - vm.offset("vm_list"));
            long items = candidate.address() + vm.offset("irqfds.items");
            if (candidate.number("userspace_pid") != 0 || list.at(memory, items).number("next") != items) {
                visit.accept(candidate);
            }
        });
    }

    /** The thread that made a VM. */
    static int thread(Layout.Snapshot owner) {
        long thread = owner.number("userspace_pid");
        if (thread < 1 || thread > MOST_THREADS) {
            throw Unseen.wrong("kvm.userspace_pid is " + thread + ", expected the number of a thread");
        }
        return (int) thread;
    }

    private void walk(BiConsumer<Layout.Snapshot, Layout.Snapshot> visit) {
        vms(owner -> nodes(owner.address() + vm.offset("irqfds.items"), MOST_IRQFDS, "a VM's list of irqfds", item -> {
            Layout.Snapshot snapshot = irqfd.at(memory, item - irqfd.offset("list"));
            if (snapshot.number("kvm") != owner.address()) {
                throw Unseen.torn("kvm_kernel_irqfd.kvm");
            }
            visit.accept(owner, snapshot);
        }));
    }

    /** KVM writes a new table of routes before the irqfd's copy of its route, so a difference is read again. */
    private KernelIrqfd of(Layout.Snapshot owner, Layout.Snapshot snapshot) {
        KernelIrqfd found = read(owner, snapshot);
        if (!found.message().equals(found.route())
                && !found.equals(read(vm.at(memory, owner.address()), irqfd.at(memory, snapshot.address())))) {
            throw Unseen.torn("kvm_kernel_irqfd.gsi or its route");
        }
        return found;
    }

    private KernelIrqfd read(Layout.Snapshot owner, Layout.Snapshot snapshot) {
        long gsi = snapshot.number("gsi");
        if (gsi > Gsi.MAX) {
            throw Unseen.wrong("kvm_kernel_irqfd.gsi is " + gsi + ", expected at most " + Gsi.MAX);
        }
        int thread = thread(owner);
        List<Layout.Snapshot> routes = routes(owner, gsi);
        return new KernelIrqfd(
                thread,
                IrqChain.id(memory, types, snapshot.pointer("eventfd")),
                new Gsi((int) gsi),
                snapshot.number("producer") == 0 ? Optional.empty() : Optional.of(host(snapshot)),
                message(snapshot, "irq_entry."),
                routes.size() == 1 ? message(routes.get(0), "") : Optional.empty(),
                routes.size(),
                snapshot.number("resampler") != 0);
    }

    private HostIrq host(Layout.Snapshot snapshot) {
        long irq = producer.at(memory, snapshot.pointer("producer")).number("irq");
        // VFIO frees a producer after it has left the irqfd.
        if (irqfd.at(memory, snapshot.address()).number("producer") != snapshot.number("producer")) {
            throw Unseen.torn("kvm_kernel_irqfd.producer");
        }
        if (irq > Integer.MAX_VALUE) {
            throw Unseen.wrong("irq_bypass_producer.irq is " + irq + ", expected the number of a host irq");
        }
        return new HostIrq((int) irq);
    }

    private List<Layout.Snapshot> routes(Layout.Snapshot owner, long gsi) {
        List<Layout.Snapshot> found = new ArrayList<>();
        if (owner.number("irq_routing") == 0) {
            return found;
        }
        Layout.Snapshot routes = table.at(memory, owner.pointer("irq_routing"));
        if (gsi >= routes.number("nr_rt_entries")) {
            return found;
        }
        long node = memory.word(routes.address() + table.offset("map") + gsi * Long.BYTES, "kvm_irq_routing_table.map");
        while (node != 0) {
            Layout.Snapshot snapshot = route.at(memory, node - route.offset("link"));
            if (snapshot.number("gsi") != gsi || found.size() == MOST_ROUTES) {
                throw Unseen.torn("the VM's routing table");
            }
            found.add(snapshot);
            node = memory.word(node, "kvm_kernel_irq_routing_entry.link");
        }
        return found;
    }

    private static Optional<MsiMessage> message(Layout.Snapshot of, String path) {
        if (of.number(path + "type") != MSI) {
            return Optional.empty();
        }
        boolean hasDevice = of.has(path + "msi.flags")
                && of.has(path + "msi.devid")
                && (of.number(path + "msi.flags") & HAS_DEVICE) != 0;
        return Optional.of(new MsiMessage(
                of.number(path + "msi.address_hi") << Integer.SIZE | of.number(path + "msi.address_lo"),
                (int) of.number(path + "msi.data"),
                hasDevice ? OptionalInt.of((int) of.number(path + "msi.devid")) : OptionalInt.empty()));
    }

    private void nodes(long head, int max, String what, LongConsumer visit) {
        nodes(memory, list, head, max, what, visit);
    }

    /** Visits the nodes of a list. After its visit, each must name the one before it: no knot does for long, no freed node. */
    static void nodes(KernelMemory memory, Layout list, long head, int max, String what, LongConsumer visit) {
        long before = head;
        long node = list.at(memory, head).pointer("next");
        for (int left = max; node != head; left--) {
            if (left == 0) {
                throw Unseen.wrong(what + " has more than " + max);
            }
            visit.accept(node);
            Layout.Snapshot here = list.at(memory, node);
            if (here.number("prev") != before) {
                throw Unseen.torn(what);
            }
            before = node;
            node = here.pointer("next");
        }
    }
}

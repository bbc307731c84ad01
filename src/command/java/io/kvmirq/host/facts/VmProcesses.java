/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.VmProcess.EventfdFile;
import io.kvmirq.host.facts.VmProcess.VcpuFile;
import io.kvmirq.vfio.VfioGroup;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The processes that hold VMs. A process may end while it is read: the facts read until then are kept.
 *
 * @param all in the order of their numbers
 * @param unreadable how many processes do not show their descriptors to this user
 */
public record VmProcesses(List<VmProcess> all, int unreadable) {
    static final String EVENTFD = "anon_inode:[eventfd]";

    /** {@code cdevs}: the PCI device of each file in {@code /dev/vfio/devices}. {@code armed}: VFIO has armed it. */
    static VmProcesses read(
            HostFiles tree, OpenFiles open, Map<String, PciAddress> cdevs, Predicate<PciAddress> armed) {
        List<VmProcess> all = new ArrayList<>();
        open.targets().forEach((pid, targets) -> {
            if (targets.containsValue(OpenFiles.VM)) {
                all.add(new Reader(tree, cdevs, armed, pid, targets).process());
            }
        });
        return new VmProcesses(all, open.unreadable());
    }

    /** The ids of a process's eventfds. */
    static Set<Integer> eventfdIds(HostFiles tree, int pid, Map<Integer, String> targets) {
        return Reader.eventfdIds(tree, pid, targets);
    }

    /** The processes that have a device open through VFIO and hold a VM. */
    public List<VmProcess> using(PciAddress device) {
        return all.stream()
                .filter(process -> process.devices().contains(device))
                .toList();
    }

    /** The processes that hold a VM and the IOMMU group of a device, and do not show whether they have it open. */
    public List<VmProcess> ofGroup(PciAddress device) {
        return all.stream()
                .filter(process -> process.mayHave().contains(device))
                .toList();
    }

    /** Whether the name of a thread is that of a vCPU. */
    public static boolean isVcpu(String thread) {
        return Reader.THREAD.matcher(thread).matches();
    }

    /** One process. The patterns are here: short commands load the class above, and most hosts have no VM. */
    private static final class Reader {
        private static final String ANONYMOUS = "anon_inode:";
        private static final Pattern VCPU = Pattern.compile("anon_inode:kvm-vcpu:(\\d{1,9})");
        private static final String DEVICE = ANONYMOUS + "[vfio-device]";
        /** Base class 6. */
        private static final String BRIDGE = "0x06";

        private static final String CDEV = "/dev/vfio/devices/";
        private static final Pattern GROUP = Pattern.compile("/dev/vfio/(\\d{1,9})");
        private static final Pattern NUMBER = Pattern.compile("\\d{1,9}");
        /** {@code eventfd_show_fdinfo()} in fs/eventfd.c. */
        private static final Pattern COUNT = Pattern.compile("[0-9a-f]{1,16}");

        /** QEMU, crosvm and Cloud Hypervisor, Firecracker, kvmtool. */
        private static final Pattern THREAD =
                Pattern.compile("(?:CPU (?=\\d+/KVM)|(?:crosvm_)?vcpu|fc_vcpu |kvm-vcpu-)(\\d{1,5})(?:/KVM)?");

        /**
         * {@code proc_pid_syscall()} in fs/proc/base.c: the number of ioctl, which is 16 on x86 and 29 on arm64, and its
         * arguments.
         */
        private static final Pattern RUN = Pattern.compile("(?:16|29) 0x([0-9a-f]{1,7}) 0xae80 ");

        private static final Pattern ADDRESS =
                Pattern.compile("[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7](?=$)", Pattern.CASE_INSENSITIVE);
        private static final Set<String> NAMED_BY = Set.of("-name", "--name", "-n", "--id");
        private static final int RADIX = 16;

        private final HostFiles tree;
        private final Map<String, PciAddress> cdevs;
        private final Predicate<PciAddress> armed;
        private final String path;
        private final int pid;
        private final Map<Integer, String> targets;

        Reader(
                HostFiles tree,
                Map<String, PciAddress> cdevs,
                Predicate<PciAddress> armed,
                int pid,
                Map<Integer, String> targets) {
            this.tree = tree;
            this.cdevs = cdevs;
            this.armed = armed;
            this.path = "proc/" + pid + "/";
            this.pid = pid;
            this.targets = targets;
        }

        VmProcess process() {
            List<String> arguments = arguments();
            List<Integer> vms = new ArrayList<>();
            TreeSet<String> kvmDevices = new TreeSet<>();
            List<EventfdFile> eventfds = new ArrayList<>();
            Map<Integer, Integer> ids = vcpus();
            Map<Integer, Integer> threads = threads(ids);
            Set<Integer> polled = polled();
            targets.forEach((fd, target) -> {
                String kind = target.startsWith(ANONYMOUS) ? target.substring(ANONYMOUS.length()) : "";
                if (kind.equals("kvm-vm")) {
                    vms.add(fd);
                } else if (target.equals(EVENTFD)) {
                    eventfds.add(eventfd(fd, polled.contains(fd)));
                } else if (kind.startsWith("kvm-") && !kind.startsWith("kvm-vcpu") && !kind.contains("-stats")) {
                    kvmDevices.add(kind);
                }
            });
            Set<PciAddress> shown = shown();
            Set<PciAddress> possible = shown.isEmpty() ? possible(arguments) : Set.of();
            Set<PciAddress> devices = shown.isEmpty() ? likely(possible, arguments) : shown;
            return new VmProcess(
                    pid,
                    tree.text(path + "comm").orElse(""),
                    guest(arguments),
                    arguments,
                    vms,
                    ids.entrySet().stream()
                            .map(entry -> new VcpuFile(entry.getValue(), entry.getKey(), find(threads, entry.getKey())))
                            .toList(),
                    List.copyOf(kvmDevices),
                    eventfds,
                    List.copyOf(devices),
                    possible.stream()
                            .filter(address -> !devices.contains(address))
                            .toList());
        }

        private static Map<String, String> info(HostFiles tree, int pid, int fd) {
            Map<String, String> info = new HashMap<>();
            tree.text("proc/" + pid + "/fdinfo/" + fd).stream()
                    .flatMap(String::lines)
                    .forEach(line -> {
                        int colon = line.indexOf(':');
                        if (colon > 0) {
                            info.putIfAbsent(
                                    line.substring(0, colon),
                                    line.substring(colon + 1).strip());
                        }
                    });
            return info;
        }

        /** The eventfd-id in the fdinfo of an eventfd, since Linux 5.2. */
        private static OptionalInt id(Map<String, String> info) {
            String id = info.getOrDefault("eventfd-id", "");
            return NUMBER.matcher(id).matches() ? OptionalInt.of(Integer.parseInt(id)) : OptionalInt.empty();
        }

        static Set<Integer> eventfdIds(HostFiles tree, int pid, Map<Integer, String> targets) {
            Set<Integer> ids = new HashSet<>();
            targets.forEach((fd, target) -> {
                if (target.equals(EVENTFD)) {
                    id(info(tree, pid, fd)).ifPresent(ids::add);
                }
            });
            return ids;
        }

        private List<String> arguments() {
            // HostFiles.text ends at the first zero.
            return tree.bytes(path + "cmdline", HostFiles.LONGEST_TEXT)
                    .filter(bytes -> bytes.length > 0)
                    .map(bytes -> List.of(new String(bytes, StandardCharsets.UTF_8).split("\0")))
                    .orElse(List.of());
        }

        private static Optional<String> guest(List<String> arguments) {
            for (int i = 0; i < arguments.size(); i++) {
                String word = arguments.get(i);
                int equals = word.indexOf('=');
                Optional<String> value = Optional.empty();
                if (NAMED_BY.contains(word) && i + 1 < arguments.size()) {
                    value = Optional.of(arguments.get(i + 1));
                } else if (equals > 0 && word.startsWith("--") && NAMED_BY.contains(word.substring(0, equals))) {
                    value = Optional.of(word.substring(equals + 1));
                }
                if (value.isPresent()) {
                    // QEMU: name, or guest=name, and options; two commas are one of the name.
                    String name = value.get().split("(?<!,),(?!,)", 2)[0].replace(",,", ",");
                    return Optional.of(name.startsWith("guest=") ? name.substring("guest=".length()) : name);
                }
            }
            return Optional.empty();
        }

        /** The ids of the vCPUs by their descriptors. */
        private Map<Integer, Integer> vcpus() {
            Map<Integer, Integer> ids = new LinkedHashMap<>();
            targets.forEach((fd, target) -> {
                Matcher vcpu = VCPU.matcher(target);
                if (vcpu.matches()) {
                    ids.put(fd, Integer.parseInt(vcpu.group(1)));
                }
            });
            return ids;
        }

        private static OptionalInt find(Map<Integer, Integer> threads, int fd) {
            Integer thread = threads.get(fd);
            return thread == null ? OptionalInt.empty() : OptionalInt.of(thread);
        }

        /**
         * Threads by the descriptor of the vCPU that they run. Their names tell it; of a VMM with other names, the
         * arguments of KVM_RUN do, in which a thread sleeps while its guest is halted; and if one thread is left that has
         * run a guest, it runs the vCPU that is left.
         */
        private Map<Integer, Integer> threads(Map<Integer, Integer> ids) {
            Map<Integer, Integer> threads = new HashMap<>();
            List<Integer> others = new ArrayList<>();
            for (String thread : tree.list(path + "task")) {
                if (NUMBER.matcher(thread).matches()) {
                    OptionalInt id = named(thread);
                    if (id.isEmpty() || !ids.containsValue(id.getAsInt())) {
                        others.add(Integer.parseInt(thread));
                    }
                    ids.forEach((fd, tid) -> {
                        if (id.equals(OptionalInt.of(tid))) {
                            threads.put(fd, Integer.parseInt(thread));
                        }
                    });
                }
            }
            List<Integer> guests = new ArrayList<>();
            for (int tid : threads.size() < ids.size() ? others : List.<Integer>of()) {
                Optional<ThreadStat> stat =
                        tree.text(path + "task/" + tid + "/stat").flatMap(ThreadStat::parse);
                // A worker that the kernel starts in KVM_RUN keeps the registers of its maker, and so its system call.
                boolean worker = stat.filter(ThreadStat::isWorker).isPresent();
                Optional<Integer> fd = running(tid).filter(vcpu -> ids.containsKey(vcpu) && !worker);
                if (fd.isPresent()) {
                    threads.putIfAbsent(fd.get(), tid);
                } else if (stat.filter(thread -> thread.guestTicks() > 0 && !thread.isExiting())
                        .isPresent()) {
                    guests.add(tid);
                }
            }
            if (guests.size() == 1 && threads.size() == ids.size() - 1) {
                ids.keySet().forEach(fd -> threads.putIfAbsent(fd, guests.get(0)));
            }
            return threads;
        }

        private OptionalInt named(String thread) {
            Matcher name =
                    THREAD.matcher(tree.text(path + "task/" + thread + "/comm").orElse(""));
            return name.matches() ? OptionalInt.of(Integer.parseInt(name.group(1))) : OptionalInt.empty();
        }

        /** The descriptor whose KVM_RUN a thread is in. A thread that has a CPU does not show its system call. */
        private Optional<Integer> running(int tid) {
            Matcher run =
                    RUN.matcher(tree.text(path + "task/" + tid + "/syscall").orElse(""));
            return run.lookingAt() ? Optional.of(Integer.parseInt(run.group(1), RADIX)) : Optional.empty();
        }

        private EventfdFile eventfd(int fd, boolean polled) {
            Map<String, String> info = info(fd);
            String count = info.getOrDefault("eventfd-count", "0");
            return new EventfdFile(
                    fd, id(info), COUNT.matcher(count).matches() ? Long.parseUnsignedLong(count, RADIX) : 0, polled);
        }

        private Map<String, String> info(int fd) {
            return info(tree, pid, fd);
        }

        /** The descriptors that an epoll of the process waits for: the lines {@code tfd: 9 events: 19 ...}. */
        private Set<Integer> polled() {
            Set<Integer> polled = new HashSet<>();
            targets.forEach((fd, target) -> {
                if (target.equals(ANONYMOUS + "[eventpoll]")) {
                    tree.text(path + "fdinfo/" + fd).stream()
                            .flatMap(String::lines)
                            .map(line -> line.strip().split("[:\\s]+", 3))
                            .filter(words -> words.length > 1
                                    && words[0].equals("tfd")
                                    && NUMBER.matcher(words[1]).matches())
                            .forEach(words -> polled.add(Integer.parseInt(words[1])));
                }
            });
            return polled;
        }

        /** The devices of its groups that VFIO may give to a guest, or gave to it before another driver was bound. */
        private Set<PciAddress> possible(List<String> arguments) {
            TreeSet<PciAddress> possible = new TreeSet<>();
            for (String target : targets.values()) {
                Matcher group = GROUP.matcher(target);
                if (group.matches()) {
                    tree.list("sys/kernel/iommu_groups/" + group.group(1) + "/devices").stream()
                            .forEach(name -> address(name)
                                    .filter(address ->
                                            isForGuests(name) || armed.test(address) || isNamed(address, arguments))
                                    .ifPresent(possible::add));
                }
            }
            return possible;
        }

        private boolean isForGuests(String name) {
            String device = "sys/bus/pci/devices/" + name;
            return tree.linkName(device + "/driver").filter(VfioGroup::isDriver).isPresent()
                    && !tree.text(device + "/class").orElse("").startsWith(BRIDGE);
        }

        /**
         * The devices of its groups that it has open: all, if it has as many files of devices; else those that have an
         * armed interrupt, since a group has one holder, or that its command line names.
         */
        private Set<PciAddress> likely(Set<PciAddress> possible, List<String> arguments) {
            long open = targets.values().stream().filter(DEVICE::equals).count();
            TreeSet<PciAddress> likely = new TreeSet<>(possible);
            if (open < possible.size()) {
                likely.removeIf(address -> !armed.test(address) && !isNamed(address, arguments));
            }
            return likely;
        }

        private static boolean isNamed(PciAddress device, List<String> arguments) {
            String address = device.toString();
            String brief = device.domain() == 0 ? "(?:0000:)?" + address.substring(address.indexOf(':') + 1) : address;
            Pattern name = Pattern.compile("(?<![0-9a-f:])" + brief.replace(".", "\\.") + "(?![0-9a-f])");
            return arguments.stream().anyMatch(word -> name.matcher(word.toLowerCase(Locale.ROOT))
                    .find());
        }

        /** The devices whose files show which they are: their own files, and all since vfio-device-syspath. */
        private Set<PciAddress> shown() {
            TreeSet<PciAddress> shown = new TreeSet<>();
            targets.forEach((fd, target) -> {
                if (target.equals(DEVICE) || target.startsWith(CDEV)) {
                    Optional<PciAddress> syspath = Optional.ofNullable(info(fd).get("vfio-device-syspath"))
                            .flatMap(Reader::address);
                    syspath.ifPresent(shown::add);
                    PciAddress cdev = cdevs.get(target.substring(target.lastIndexOf('/') + 1));
                    if (target.startsWith(CDEV) && syspath.isEmpty() && cdev != null) {
                        shown.add(cdev);
                    }
                }
            });
            return shown;
        }

        private static Optional<PciAddress> address(String path) {
            Matcher last = ADDRESS.matcher(path.substring(path.lastIndexOf('/') + 1));
            return last.matches() ? Optional.of(PciAddress.parse(last.group())) : Optional.empty();
        }
    }
}

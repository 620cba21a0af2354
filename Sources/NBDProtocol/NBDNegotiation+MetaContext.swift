extension NBDNegotiation {
    /// Answers `NBD_OPT_LIST_META_CONTEXT` and `NBD_OPT_SET_META_CONTEXT`.
    ///
    /// A set replaces the previous selection, also when it fails.
    mutating func metaContext(_ option: NBDOption, _ data: [UInt8], _ exports: [NBDExportInfo]) -> Step {
        let sets = option == .setMetaContext
        if sets {
            selection = nil
            guard headers != .simple else {
                return fail(option, .invalid, "request option '\(option.name)' when structured reply is not negotiated")
            }
        }
        var reader = ByteReader(data)
        let name: [UInt8]
        switch readName(option, &reader) {
        case .name(let bytes): name = bytes
        case .failure(let step): return step
        }
        guard let export = exports.first(where: { $0.name.utf8.elementsEqual(name) }) else {
            return notPresent(option, name)
        }
        guard let count = reader.integer(UInt32.self) else { return inconsistent(option) }
        var chosen: Set<NBDMetaContext> = count == 0 && !sets ? Set(export.contexts) : []
        let offered = export.contexts.map { ($0, Array(export.contextName($0).utf8)) }
        for _ in 0..<count {
            guard let length = reader.integer(UInt32.self), let query = reader.take(length) else {
                return inconsistent(option)
            }
            guard length <= NBD.maximumStringLength else { continue }
            guard !query.contains(0) else { return embeddedNUL(option) }
            let isWildcard = !sets && Self.wildcards.contains(where: { $0.elementsEqual(query) })
            for (context, name) in offered where name[...] == query || (isWildcard && name.starts(with: query)) {
                chosen.insert(context)
            }
        }
        guard reader.remaining == 0 else { return inconsistent(option) }
        return answer(option, export, chosen)
    }

    private mutating func answer(_ option: NBDOption, _ export: NBDExportInfo, _ chosen: Set<NBDMetaContext>) -> Step {
        let contexts = export.contexts.filter(chosen.contains)
        if option == .setMetaContext {
            selection = (export.name, contexts)
        }
        var bytes: [UInt8] = []
        for context in contexts {
            var data: [UInt8] = []
            data.appendBigEndian(option == .setMetaContext ? context.id : 0)
            data.append(contentsOf: export.contextName(context).utf8)
            bytes += reply(option.rawValue, .metaContext, data)
        }
        return Step(reply: bytes + reply(option.rawValue, .ack), next: .option)
    }

    /// Queries that name a whole namespace, when listing.
    private static let wildcards: [String.UTF8View] = ["base:", "qemu:", "qemu:dirty-bitmap:"].map(\.utf8)
}

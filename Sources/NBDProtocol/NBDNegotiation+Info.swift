extension NBDNegotiation {
    /// Answers `NBD_OPT_INFO` and `NBD_OPT_GO`.
    func inform(_ option: NBDOption, _ data: [UInt8], _ exports: [NBDExportInfo]) -> Step {
        var reader = ByteReader(data)
        let name: [UInt8]
        switch readName(option, &reader) {
        case .name(let bytes): name = bytes
        case .failure(let step): return step
        }
        guard let count = reader.integer(UInt16.self), reader.remaining >= 2 * Int(count) else {
            return inconsistent(option)
        }
        var wanted: Set<UInt16> = []
        for _ in 0..<count {
            if let type = reader.integer(UInt16.self) { wanted.insert(type) }
        }
        guard reader.remaining == 0 else {
            return fail(option, .invalid, "option '\(option.name)' has unexpected length")
        }
        guard let export = exports.first(where: { $0.name.utf8.elementsEqual(name) }) else {
            return notPresent(option, name)
        }
        return inform(option, export, wanted)
    }

    private func inform(_ option: NBDOption, _ export: NBDExportInfo, _ wanted: Set<UInt16>) -> Step {
        let asksBlockSize = wanted.contains(NBDInfoType.blockSize.rawValue)
        let minimum = option == .info || asksBlockSize ? export.minimumBlock : 1
        var bytes: [UInt8] = []
        if wanted.contains(NBDInfoType.name.rawValue) {
            bytes += info(option, .name) { $0.append(contentsOf: export.name.utf8) }
        }
        if let description = export.description {
            bytes += info(option, .description) { $0.append(contentsOf: description.utf8) }
        }
        bytes += info(option, .blockSize) {
            $0.appendBigEndian(minimum)
            $0.appendBigEndian(export.preferredBlock)
            $0.appendBigEndian(export.maximumPayload)
        }
        bytes += info(option, .export) {
            $0.appendBigEndian(export.size)
            $0.appendBigEndian(export.transmissionFlags(headers).rawValue)
        }
        if option == .info, !asksBlockSize, export.minimumBlock > 1 {
            let text = "request NBD_INFO_BLOCK_SIZE to use this export"
            bytes += reply(option.rawValue, .blockSizeRequired, Array(text.utf8))
            return Step(reply: bytes, next: .option)
        }
        bytes += reply(option.rawValue, .ack)
        let next: Next = option == .go ? .transmission(session(export, minimumBlock: minimum)) : .option
        return Step(reply: bytes, next: next)
    }

    private func info(_ option: NBDOption, _ type: NBDInfoType, _ fill: (inout [UInt8]) -> Void) -> [UInt8] {
        var data: [UInt8] = []
        data.appendBigEndian(type.rawValue)
        fill(&data)
        return reply(option.rawValue, .info, data)
    }
}

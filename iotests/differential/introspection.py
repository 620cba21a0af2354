"""Reads the answer of query-qmp-schema: what a command takes, written out so that two daemons can be compared.

Type names mean nothing there, so types are expanded: enumerations to their values, objects to their members.
"""


class Introspection:
    """The entities of one answer, by name."""

    def __init__(self, entities):
        self.entities = {entity["name"]: entity for entity in entities}

    def describe(self, name, variants):
        """Lines on the arguments (or event data) and the result of `name`; of variants only the wanted ones."""
        entity = self.entities.get(name)
        if entity is None:
            return ["(not there)"]
        lines = [f"{entity['meta-type']} {name}" + self.features(entity)]
        lines += self.members(entity["arg-type"], "  ", variants, ())
        return lines

    def members(self, type_name, indent, variants, path):
        """The members of an object type, sorted by name; a type within itself is not expanded again."""
        entity = self.entities[type_name]
        lines = []
        for member in sorted(entity["members"], key=lambda each: each["name"]):
            if member["name"] == entity.get("tag"):
                lines.append(f"{indent}{member['name']}: which of the variants")
                continue
            optional = "*" if "default" in member else ""
            lines += self.member(f"{indent}{optional}{member['name']}", member, indent, variants, (*path, type_name))
        for variant in sorted(entity.get("variants", []), key=lambda each: each["case"]):
            if variant["case"] in variants:
                lines.append(f"{indent}when {entity['tag']} is {variant['case']}")
                lines += self.members(variant["type"], indent + "  ", variants, (*path, type_name))
        return lines

    def member(self, head, member, indent, variants, path):
        head += self.features(member)
        entity = self.entities[member["type"]]
        kind = entity["meta-type"]
        if kind == "array":
            inner = dict(member, type=entity["element-type"])
            inner.pop("features", None)
            return self.member(f"{head}: list of", inner, indent, variants, path)
        if kind == "enum":
            return [f"{head}: enum" + ("" if len(entity["members"]) > 20 else self.values(entity))]
        if kind == "alternate":
            kinds = sorted(self.entities[each["type"]]["meta-type"] for each in entity["members"])
            return [f"{head}: one of {', '.join(kinds)}"]
        if kind == "object":
            if member["type"] in path:
                return [f"{head}: object as above"]
            return [f"{head}: object", *self.members(member["type"], indent + "  ", variants, path)]
        return [f"{head}: {entity['json-type']}"]

    def values(self, entity):
        return " " + ", ".join(sorted(each["name"] + self.features(each) for each in entity["members"]))

    def features(self, entity):
        found = entity.get("features")
        return f" [{' '.join(sorted(found))}]" if found else ""
